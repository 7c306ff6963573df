// A copy from disk to disk before the operating system: what the target keeps stays whatever happens, and
// after any cut the disk is the old one, or plainly unfinished, or complete.

#include "efi/core/duplicate.h"

#include <gmock/gmock.h>

#include "layout/incomplete_mark.h"
#include "profiles/slots.h"
#include "tests/support/efi_disk.h"
#include "tests/support/gpt_disk.h"

namespace dupengine {
namespace {

using test::EfiDisk;
using test::PartitionRecipe;

constexpr std::uint64_t kSourceBytes = 8 * kMiB, kTargetBytes = 12 * kMiB;
constexpr block::Extent kProfile{9 * kMiB, 11 * kMiB};

class Silent final : public efi::DuplicateWatcher {
  public:
    void at(efi::TextView, std::uint64_t done, std::uint64_t total) override { EXPECT_LE(done, total); }
};

class EfiDuplicate : public ::testing::TestWithParam<std::uint32_t> {
  protected:
    EfiDuplicate() { reset(); }

    void reset() {
        target_ =
            EfiDisk(test::make_gpt_disk(kTargetBytes,
                                        {{1, {kMiB, 3 * kMiB}, "old"},
                                         {128, kProfile, "dupengine-profile", layout::type_guid::kProfile}},
                                        2, true, GetParam())
                        ->content,
                    GetParam());
        kept_ = bytes_of(target_, kProfile);
    }
    static Bytes bytes_of(EfiDisk& disk, block::Extent extent) {
        const auto begin = disk.content().begin() + static_cast<std::ptrdiff_t>(extent.begin);
        return {begin, begin + static_cast<std::ptrdiff_t>(extent.size())};
    }
    std::string plan() {
        look(source_, source_seen_);
        look(target_, target_seen_);
        const efi::TextView reason =
            efi::plan_duplicate({source_, source_seen_}, {target_, target_seen_}, scratch_, plan_);
        return {reason.data(), reason.size()};
    }
    void look(efi::Disk& disk, efi::DiskSeen& seen) {
        seen = {};
        seen.no_table = efi::read_gpt(disk, scratch_, seen.table);
        if (!seen.no_table.empty())
            seen.unfinished = seen.mark_known = efi::find_mark(disk, scratch_, seen.mark);
    }
    std::string apply() {
        Silent watcher;
        const efi::DuplicateResult result = efi::apply_duplicate(plan_, source_, target_, scratch_, watcher);
        return {result.reason.data(), result.reason.size()};
    }
    test::MemoryDevice device() {
        auto bytes = std::make_shared<test::DiskBytes>(0);
        bytes->content = target_.content();
        return test::MemoryDevice(bytes, GetParam());
    }
    void expect_complete() {
        const layout::PartitionTable table = layout::read_partition_table(device());
        EXPECT_TRUE(table.primary_valid && table.backup_valid);
        EXPECT_TRUE(table.problems.empty());
        ASSERT_EQ(table.partitions.size(), 3u);
        EXPECT_EQ(table.by_number(2)->name, "root");
        ASSERT_NE(table.by_number(128), nullptr);
        EXPECT_EQ(table.by_number(128)->extent, kProfile);
        EXPECT_EQ(table.by_number(128)->name, "dupengine-profile");
        for (unsigned number : {1u, 2u}) {
            const block::Extent extent = table.by_number(number)->extent;
            EXPECT_EQ(bytes_of(target_, extent), bytes_of(source_, extent));
        }
    }

    EfiDisk source_{test::make_gpt_disk(kSourceBytes,
                                        {{1, {kMiB, 2 * kMiB}, "EFI system", layout::type_guid::kEfiSystem},
                                         {2, {2 * kMiB, 4 * kMiB + 8192}, "root"},
                                         {128, {5 * kMiB, 7 * kMiB}, "profile", layout::type_guid::kProfile}},
                                        1, false, GetParam())
                        ->content,
                    GetParam()};
    EfiDisk target_{{}, GetParam()};
    Bytes kept_;
    std::vector<std::byte> scratch_ = std::vector<std::byte>(efi::kSurveyScratchBytes);
    efi::DiskSeen source_seen_, target_seen_;
    efi::DuplicatePlan plan_;
};
INSTANTIATE_TEST_SUITE_P(Sectors, EfiDuplicate, ::testing::Values(512, 4096));

TEST_P(EfiDuplicate, MakesTheTargetTheSourceAndKeepsItsProfile) {
    ASSERT_EQ(plan(), "");
    EXPECT_EQ(target_.writes, 0u);
    EXPECT_EQ(apply(), "");
    expect_complete();
    EXPECT_EQ(bytes_of(target_, kProfile), kept_);
}

TEST_P(EfiDuplicate, FillsABlankDisk) {
    target_ = EfiDisk(std::vector<std::byte>(kTargetBytes), GetParam());
    ASSERT_EQ(plan(), "");
    EXPECT_EQ(apply(), "");
    EXPECT_EQ(layout::read_partition_table(device()).partitions.size(), 2u);
}

// Cut at each write: nothing of the profile changes, what is found is old, unfinished or complete, and doing
// it again completes it.
TEST_P(EfiDuplicate, CutAtAnyWriteIsNeverPlausibleGarbage) {
    ASSERT_EQ(plan(), "");
    ASSERT_EQ(apply(), "");
    const std::size_t writes = target_.writes;
    ASSERT_GE(writes, 7u);
    for (std::size_t cut = 0; cut < writes; ++cut) {
        reset();
        ASSERT_EQ(plan(), "");
        target_.cut_after = cut;
        EXPECT_NE(apply(), "") << cut;
        EXPECT_EQ(bytes_of(target_, kProfile), kept_) << cut;
        const auto mark = layout::find_mark(device());
        if (cut >= 2 && cut + 1 < writes) {
            ASSERT_TRUE(mark) << cut;
            EXPECT_EQ(layout::read_partition_table(device()).kind, layout::TableKind::kNone) << cut;
            ASSERT_EQ(mark->kept.size(), 1u);
            EXPECT_EQ(mark->kept[0].extent, kProfile);
            EXPECT_EQ(mark->kept[0].entry->name, "dupengine-profile");
            EXPECT_EQ(mark->kept[0].entry->number, 128u);
            EXPECT_EQ(mark->kept[0].entry->type_guid, layout::type_guid::kProfile);
        }
        target_.cut_after = std::numeric_limits<std::size_t>::max();
        ASSERT_EQ(plan(), "") << cut;
        EXPECT_EQ(apply(), "") << cut;
        expect_complete();
        EXPECT_EQ(bytes_of(target_, kProfile), kept_) << cut;
    }
}

TEST_P(EfiDuplicate, SeesThatTheTargetHoldsSomethingElse) {
    ASSERT_EQ(plan(), "");
    target_.flip_at = 2 * kMiB;
    EXPECT_EQ(apply(), "the target does not hold what was written");
    EXPECT_TRUE(layout::find_mark(device()));
}

TEST_P(EfiDuplicate, PutsTheMarkBackWhereTheTableWasNotWrittenAsItIs) {
    ASSERT_EQ(plan(), "");
    // The start of the mark is written there first; flipping is seen only when the table is read back.
    target_.flip_at = 0;
    EXPECT_EQ(apply(), "the partition table cannot be written");
    EXPECT_TRUE(layout::find_mark(device()));
}

TEST_P(EfiDuplicate, GoesOnFromACopyThatTheCommandBegan) {
    layout::IncompleteMark mark;
    mark.source = "/dev/sda \"quoted\"";
    mark.started = -5;
    mark.size_bytes = kTargetBytes;
    layout::Partition entry;
    entry.number = 128;
    entry.type_guid = layout::type_guid::kProfile;
    entry.guid = Guid::parse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    entry.name = "dupengine-profile";
    mark.kept = {{"profile (partition 128)", kProfile, entry}};
    const Bytes encoded = layout::encode_mark(mark, GetParam());
    auto& content = target_.content();
    std::fill_n(content.begin(), kMiB, std::byte{0});
    std::copy(encoded.begin(), encoded.end(), content.end() - static_cast<std::ptrdiff_t>(encoded.size()));
    ASSERT_EQ(plan(), "");
    EXPECT_EQ(apply(), "");
    expect_complete();
    EXPECT_EQ(bytes_of(target_, kProfile), kept_);
}

TEST_P(EfiDuplicate, RefusesBeforeTheFirstWrite) {
    const auto expect_refusal = [&](const std::string& reason) {
        EXPECT_EQ(plan(), reason);
        EXPECT_EQ(target_.writes, 0u);
        reset();
    };
    const auto with_target = [&](std::uint64_t size, const std::vector<PartitionRecipe>& recipes) {
        target_ = EfiDisk(test::make_gpt_disk(size, recipes, 3, true, GetParam())->content, GetParam());
    };
    with_target(4 * kMiB, {});
    expect_refusal("the target is too small for the source's partitions");
    with_target(kTargetBytes, {{9, {3 * kMiB, 5 * kMiB}, "p", layout::type_guid::kProfile}});
    expect_refusal("the target's profile partition lies where a partition of the source would go");
    with_target(kTargetBytes, {{2, {9 * kMiB, 11 * kMiB}, "p", layout::type_guid::kProfile}});
    expect_refusal("the target's profile partition has the number of a partition of the source");
    with_target(kTargetBytes, {{9, {9 * kMiB, 11 * kMiB}, "p\xc3\xa4", layout::type_guid::kProfile}});
    expect_refusal("the target's profile partition has a name that is not plain");
    target_.content()[0] = std::byte{1};
    std::fill_n(target_.content().begin() + 446, kMiB, std::byte{0});
    expect_refusal("the target holds something that is no GUID partition table; wipe it first");
    target_ = EfiDisk(std::vector<std::byte>(kTargetBytes), GetParam() == 512 ? 4096 : 512);
    expect_refusal("the two disks have sectors of different sizes");
    ASSERT_EQ(plan(), "");
    target_.is_read_only = true;
    EXPECT_EQ(apply(), "the target is read-only");
    EXPECT_EQ(target_.writes, 0u);
}

TEST(EfiGuard, LetsNothingThroughThatTouchesWhatIsKept) {
    EfiDisk disk{Bytes(kMiB)};
    const Bytes sector(512, std::byte{7});
    for (std::uint64_t at : {std::uint64_t{4096}, std::uint64_t{8192 - 512}}) {
        const efi::Region kept[] = {{4096, 8192}};
        efi::GuardedTarget target(disk, kept);
        EXPECT_TRUE(target.write(4096 - 512, sector));
        EXPECT_TRUE(target.write(8192, sector));
        EXPECT_FALSE(target.write(at, sector));
        EXPECT_TRUE(target.refused());
        EXPECT_FALSE(target.write(0, sector)) << "nothing after a refusal";
    }
    for (const auto& [offset, size] :
         {std::pair<std::uint64_t, std::size_t>{kMiB, 512}, {512, 100}, {100, 512}, {~0ull, 512}}) {
        efi::GuardedTarget target(disk, {});
        EXPECT_FALSE(target.write(offset, Bytes(size)));
    }
    EXPECT_TRUE(is_zero(std::span(disk.content()).subspan(4096, 4096)));
}

}  // namespace
}  // namespace dupengine
