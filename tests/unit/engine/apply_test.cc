#include "engine/apply.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "tests/support/crash_disk.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using test::Call;
using test::DiskBytes;
using test::make_gpt_disk;
using test::MemoryDevice;
using test::Operation;

constexpr std::uint64_t kSize = 8 * kMiB;
const Extent kFirst{kMiB, 3 * kMiB};
const Extent kSecond{3 * kMiB, 5 * kMiB};
const Extent kProfilePlace{6 * kMiB, 7 * kMiB};

struct Pair {
    std::shared_ptr<DiskBytes> from = make_gpt_disk(kSize, {{1, kFirst, "esp"}, {2, kSecond, "root"}}, 1);
    std::shared_ptr<DiskBytes> to = make_gpt_disk(
        kSize, {{1, {kMiB, 6 * kMiB}, "old"}, {128, kProfilePlace, "profile", layout::type_guid::kProfile}},
        2, true);
    Bytes profile() const {
        return {to->content.begin() + kProfilePlace.begin, to->content.begin() + kProfilePlace.end};
    }
};

CopyReport copy(const Pair& pair, test::Interceptor interceptor = {}, CopyOptions options = {}) {
    const MemoryDevice source(pair.from, 512, "source");
    const CopyPlan plan = make_plan(source, MemoryDevice(pair.to, 512, "target"), options);
    auto device = std::make_unique<MemoryDevice>(pair.to, 512, "target");
    device->set_interceptor(std::move(interceptor));
    block::Target target(std::move(device), plan.protected_regions());
    Progress progress;
    ApplyContext context{progress, {}, 1, {}};
    return apply_plan(plan, source, target, context);
}

void expect_complete(const Pair& pair) {
    const auto table = layout::read_partition_table(MemoryDevice(pair.to));
    EXPECT_TRUE(table.primary_valid && table.backup_valid);
    EXPECT_EQ(table.partitions.size(), 3u);
    for (const Extent part : {kFirst, kSecond})
        EXPECT_TRUE(std::equal(pair.from->content.begin() + part.begin, pair.from->content.begin() + part.end,
                               pair.to->content.begin() + part.begin));
    for (const Extent unused : {Extent{5 * kMiB, 6 * kMiB}, Extent{7 * kMiB, kSize - 33 * 512}})
        EXPECT_TRUE(is_zero(std::span(pair.to->content).subspan(unused.begin, unused.size())))
            << "old data shines through";
}

TEST(Apply, TheTargetIsTheSourceAndTheProfileIsItself) {
    const Pair pair;
    const Bytes profile = pair.profile();
    const CopyReport report = copy(pair);
    expect_complete(pair);
    EXPECT_EQ(pair.profile(), profile);
    ASSERT_EQ(report.protected_regions.size(), 1u);
    EXPECT_EQ(report.protected_regions[0].before, report.protected_regions[0].after);
    EXPECT_EQ(report.protected_regions[0].before, codec::sha256(profile));
    EXPECT_GE(report.bytes_verified + kProfilePlace.size(), kSize) << "some bytes were not read back";
}

TEST(Apply, WhoseBootStructuresAreHeldIsNoDiskUntilSomebodyWritesThem) {
    const Pair pair;
    const Bytes profile = pair.profile();
    const MemoryDevice source(pair.from, 512, "source");
    const CopyPlan plan = make_plan(source, MemoryDevice(pair.to, 512, "target"), {});
    block::Target target(std::make_unique<MemoryDevice>(pair.to, 512, "target"), plan.protected_regions());
    Progress progress;
    ApplyContext context{progress, {}, 1, {}};
    std::optional<HeldBoot> held;
    context.hold_boot = [&](HeldBoot boot) { held = std::move(boot); };
    apply_plan(plan, source, target, context);
    ASSERT_TRUE(held);
    ASSERT_TRUE(layout::find_mark(target)) << "it would start as its source";
    EXPECT_TRUE(is_zero(std::span(pair.to->content).first(512)));
    write_boot_stages(held->boot, Verify::kAll, target);
    EXPECT_FALSE(layout::find_mark(target));
    expect_complete(pair);
    EXPECT_EQ(pair.profile(), profile);
}

TEST(Apply, ASecondCopyWritesOnlyTheBootStructuresAndWhatChanged) {
    const Pair pair;
    copy(pair);
    pair.from->content[kSecond.begin + 100'000] ^= std::byte{1};
    const CopyReport report = copy(pair);
    expect_complete(pair);
    EXPECT_EQ(report.bytes_read - report.bytes_equal, 4096u);
    EXPECT_LE(report.bytes_written, 4096 + 256 * kKiB) << "more than marks, tables and one page";
    EXPECT_GE(report.bytes_verified + kProfilePlace.size(), kSize) << "some bytes were not read back";
}

TEST(Apply, DeltaNeverWritesEverythingAnew) {
    const Pair pair;
    copy(pair);
    CopyOptions options;
    options.delta = Delta::kNever;
    EXPECT_EQ(copy(pair, {}, options).bytes_equal, 0u);
}

TEST(Apply, NoWriteEverTouchesTheProfile) {
    const Pair pair;
    copy(pair, [](std::size_t, const Call& call) {
        const bool writes = call.operation == Operation::kWrite || call.operation == Operation::kZero;
        EXPECT_FALSE(writes && call.extent.touches(kProfilePlace)) << call.extent.text();
    });
}

TEST(Apply, TheDiskBecomesADiskOnlyAfterEverythingElseIsFlushed) {
    const Pair pair;
    // Several workers write.
    std::atomic<bool> flushed = true;
    std::atomic<bool> data_seen = false;
    copy(pair, [&](std::size_t, const Call& call) {
        if (call.operation == Operation::kFlush) flushed = true;
        if (call.operation != Operation::kWrite && call.operation != Operation::kZero) return;
        const bool is_sector0 = call.extent == Extent{0, 512};
        EXPECT_TRUE(flushed || !is_sector0 || !data_seen) << "sector 0 before the flush";
        if (!is_sector0) flushed = false;
        if (call.extent.touches(kFirst)) data_seen = true;
    });
}

TEST(Apply, ATargetThatChangedSincePlanningIsRefusedUnwritten) {
    const Pair pair;
    const MemoryDevice source(pair.from);
    const CopyPlan plan = make_plan(source, MemoryDevice(pair.to), {});
    pair.to->content[512 + 60] ^= std::byte{1};  // somebody repartitioned it
    const Bytes before = pair.to->content;
    block::Target target(std::make_unique<MemoryDevice>(pair.to), plan.protected_regions());
    Progress progress;
    ApplyContext context{progress, {}, 1, {}};
    EXPECT_THROW(apply_plan(plan, source, target, context), Error);
    EXPECT_EQ(pair.to->content, before);
}

// What a cut may leave: the old disk as it was, an unfinished copy that names the profile, or the complete
// copy.
void expect_nothing_plausible(const Pair& original, const Pair& cut, const std::string& when) {
    const MemoryDevice disk(cut.to);
    const auto described = layout::describe_disk(disk, layout::Depth::kTable);
    const auto* profile = described.table.by_number(128);
    const bool has_table = described.damaged_table.empty() && described.table.kind == layout::TableKind::kGpt;
    ASSERT_TRUE(has_table || described.incomplete) << when << ": the profile could not be found again";
    if (has_table) {
        ASSERT_NE(profile, nullptr) << when;
        ASSERT_EQ(profile->extent, kProfilePlace) << when;
        const bool old_table = described.table.by_number(2) == nullptr;
        const Bytes& want = old_table ? original.to->content : original.from->content;
        for (const Extent part : {kFirst, kSecond})
            ASSERT_TRUE(std::equal(want.begin() + part.begin, want.begin() + part.end,
                                   cut.to->content.begin() + part.begin))
                << when << ": a table that lies about its partitions";
    } else {
        ASSERT_EQ(described.incomplete->kept.size(), 1u) << when;
        ASSERT_EQ(described.incomplete->kept[0].extent, kProfilePlace) << when;
    }
    ASSERT_EQ(cut.profile(), original.profile()) << when;
}

TEST(Apply, ACutAtAnyOperationLeavesNothingPlausibleAndTheNextRunCompletes) {
    std::atomic<std::size_t> operations = 0;
    const Pair original;
    {
        Pair pair;
        copy(pair, [&](std::size_t, const Call&) { ++operations; });
    }
    ASSERT_GT(operations, 20u);
    for (std::size_t cut = 0; cut < operations; ++cut) {
        const Pair pair;
        const std::string when = fmt::format("cut at operation {}", cut);
        try {
            copy(pair, [&](std::size_t number, const Call&) {
                if (number >= cut) throw_error(Code::kTargetIo, "power cut");
            });
            FAIL() << when << ": no error";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kTargetIo) << when;
        }
        expect_nothing_plausible(original, pair, when);
        copy(pair);
        expect_complete(pair);
        ASSERT_EQ(pair.profile(), original.profile()) << when;
    }
}

// A superblock in the first megabyte would make a half-copied disk the source's double for every kernel.
TEST(Apply, ADiskWithoutATableShowsNoSuperblockBeforeEverythingElseIsThere) {
    Pair pair;
    test::fill_pattern(pair.from->content, 3);
    pair.to->content.assign(kSize, std::byte{0x55});
    const Extent places[] = {{0, 17 * kKiB}, {32 * kKiB, 36 * kKiB}, {64 * kKiB, 68 * kKiB}};
    const auto shows = [&](Extent place) {
        const auto begin = static_cast<std::ptrdiff_t>(place.begin);
        return std::equal(pair.from->content.begin() + begin,
                          pair.from->content.begin() + static_cast<std::ptrdiff_t>(place.end),
                          pair.to->content.begin() + begin);
    };
    std::atomic<bool> marked = false;
    std::atomic<unsigned> writes = 0;
    copy(pair, [&](std::size_t, const Call& call) {
        const Extent data{kMiB, kSize - kMiB};
        marked = marked || call.extent.touches(data);
        if (!marked || call.operation != Operation::kWrite || !call.extent.touches(data)) return;
        ++writes;
        for (const Extent place : places) {
            EXPECT_FALSE(shows(place)) << place.text();
            EXPECT_NE(pair.to->content[place.begin], std::byte{0x55}) << "of the old disk: " << place.text();
        }
    });
    EXPECT_GT(writes.load(), 2u);
    EXPECT_EQ(pair.to->content, pair.from->content);
}

TEST(Apply, AFlushThatFailsIsNeverASuccess) {
    for (std::size_t failing = 0; failing < 6; ++failing) {
        const Pair pair;
        std::size_t flushes = 0;
        try {
            copy(pair, [&](std::size_t, const Call& call) {
                if (call.operation == Operation::kFlush && flushes++ == failing)
                    throw_error(Code::kTargetIo, "lost");
            });
            EXPECT_LE(flushes, failing) << "flush " << failing << " failed and the copy said it was done";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kTargetIo);
            // What follows a failed flush is the mark, never the table that the flush was for.
            const auto described = layout::describe_disk(MemoryDevice(pair.to), layout::Depth::kTable);
            const bool old_disk =
                described.table.by_number(2) == nullptr && described.table.by_number(1) != nullptr;
            EXPECT_TRUE(described.incomplete || old_disk) << "flush " << failing;
        }
    }
}

TEST(Apply, AProfileThatChangesUnderTheCopyIsReported) {
    const Pair pair;
    std::atomic<std::size_t> reads = 0;
    try {
        copy(pair, [&](std::size_t, const Call& call) {
            if (call.operation == Operation::kWrite && reads++ == 4)
                pair.to->content[kProfilePlace.begin] ^= std::byte{1};
        });
        FAIL() << "nobody noticed";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kIntegrity);
        EXPECT_NE(std::string(e.what()).find("profile"), std::string::npos);
    }
}

}  // namespace
}  // namespace dupengine::engine
