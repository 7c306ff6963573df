// A source for a disk of other sectors, on fakes: what the view holds, and what is refused before anything is
// written.

#include "engine/refit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/apply.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using test::MemoryDevice;
using ::testing::HasSubstr;

constexpr std::uint64_t kSize = 32 * kMiB;

std::vector<test::PartitionRecipe> two_partitions() {
    return {{1, {kMiB, 8 * kMiB}, "first"}, {3, {8 * kMiB, 20 * kMiB}, "second"}};
}

std::shared_ptr<test::DiskBytes> source_disk(std::uint32_t sector_bytes = 512) {
    return test::make_gpt_disk(kSize, two_partitions(), 1, false, sector_bytes);
}

// An image without a table would have no opinion about its sectors.
std::shared_ptr<test::DiskBytes> target_disk(std::uint32_t sector_bytes) {
    return test::make_gpt_disk(kSize, {}, 2, true, sector_bytes);
}

std::string refusal(const std::shared_ptr<test::DiskBytes>& from, std::uint32_t sector_bytes = 4096) {
    const MemoryDevice source(from), target(target_disk(sector_bytes), sector_bytes);
    try {
        const Refitted refitted = refit_source(source, target, {});
        const block::Reader& fitted =
            refitted.view ? *refitted.view : static_cast<const block::Reader&>(source);
        make_plan(fitted, target, {});
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        return e.what();
    }
    return "";
}

void put(test::DiskBytes& disk, layout::PartitionTable table, std::uint64_t old_bytes = 0) {
    std::fill_n(disk.content.begin(), old_bytes, std::byte{0});
    test::put_table(disk, table);
}

TEST(Refit, LeavesASourceOfTheSameSectorsAlone) {
    const MemoryDevice source(source_disk()), target(target_disk(512)), empty(kSize, 4096);
    EXPECT_EQ(refit_source(source, target, {}).view, nullptr);
    EXPECT_EQ(refit_source(source, empty, {}).view, nullptr) << "a file without a table has no sectors";
}

class RefitBothWays : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(RefitBothWays, EveryPartitionKeepsItsBytesAndItsEntry) {
    const std::uint32_t to = GetParam(), from = to == 512 ? 4096 : 512;
    const MemoryDevice source(source_disk(from), from), target(target_disk(to), to);
    const Refitted refitted = refit_source(source, target, {});
    ASSERT_NE(refitted.view, nullptr);
    const auto before = layout::read_partition_table(source);
    const auto after = layout::read_partition_table(*refitted.view);
    EXPECT_EQ(after.sector_bytes, to);
    EXPECT_EQ(after.disk_guid, before.disk_guid);
    EXPECT_EQ(after.partitions, before.partitions);
    EXPECT_TRUE(after.primary_valid && after.backup_valid);
    EXPECT_TRUE(after.problems.empty());
    for (const auto& p : before.partitions)
        EXPECT_EQ(block::read_extent(*refitted.view, p.extent), block::read_extent(source, p.extent));
}

TEST_P(RefitBothWays, TheCopyIsADiskOfTheTargetsSectors) {
    const std::uint32_t to = GetParam(), from = to == 512 ? 4096 : 512;
    const MemoryDevice source(source_disk(from), from);
    const auto bytes = target_disk(to);
    const MemoryDevice before(bytes, to);
    const Refitted refitted = refit_source(source, before, {});
    const CopyPlan plan = make_plan(*refitted.view, before, {});
    block::Target target(std::make_unique<MemoryDevice>(bytes, to), plan.protected_regions());
    Progress progress;
    ApplyContext context{progress, {}, 0, {}, {}};
    apply_plan(plan, *refitted.view, target, context);
    const auto table = layout::read_partition_table(MemoryDevice(bytes, to));
    EXPECT_EQ(table.sector_bytes, to);
    EXPECT_TRUE(table.primary_valid && table.backup_valid);
    EXPECT_EQ(table.partitions, layout::read_partition_table(source).partitions);
    for (const auto& p : table.partitions)
        EXPECT_EQ(block::read_extent(MemoryDevice(bytes, to), p.extent),
                  block::read_extent(source, p.extent));
}

// Runs into an error in the middle of the data.
void copy_until_the_power_is_cut(const block::Reader& source, const std::shared_ptr<test::DiskBytes>& bytes,
                                 std::uint32_t sector_bytes) {
    const MemoryDevice before(bytes, sector_bytes);
    const Refitted refitted = refit_source(source, before, {});
    const CopyPlan plan = make_plan(*refitted.view, before, {});
    auto device = std::make_unique<MemoryDevice>(bytes, sector_bytes);
    device->set_interceptor([](std::size_t, const test::Call& call) {
        if (call.operation == test::Operation::kWrite && call.extent.touches({9 * kMiB, 10 * kMiB}))
            throw_error(Code::kTargetIo, "power cut");
    });
    block::Target target(std::move(device), plan.protected_regions());
    Progress progress;
    ApplyContext context{progress, {}, 0, {}, {}};
    EXPECT_THROW(apply_plan(plan, *refitted.view, target, context), Error);
}

TEST_P(RefitBothWays, ACutCopyOntoAnImageGoesOnAsTheSameDisk) {
    const std::uint32_t to = GetParam(), from = to == 512 ? 4096 : 512;
    const MemoryDevice source(source_disk(from), from);
    const auto bytes = target_disk(to);
    copy_until_the_power_is_cut(source, bytes, to);
    const MemoryDevice file(bytes, 512);  // as any file is opened
    const Refitted refitted = refit_source(source, file, {});
    ASSERT_NE(refitted.view, nullptr) << "the next run makes another disk";
    EXPECT_EQ(make_plan(*refitted.view, file, {}).sector_bytes, to);
    if (to != 4096) return;
    // One filesystem has no sectors of its own.
    const MemoryDevice bare(kSize);
    EXPECT_EQ(make_plan(bare, file, {}).sector_bytes, to);
}

INSTANTIATE_TEST_SUITE_P(Sectors, RefitBothWays, ::testing::Values(512u, 4096u));

// Somebody gave the disk of a cut copy another table, for other sectors: the mark between them goes, too.
TEST(Refit, TheMarkOfACutCopyForOtherSectorsDoesNotOutliveTheCopy) {
    const auto bytes = target_disk(512);
    layout::IncompleteMark mark;
    mark.source = "another";
    mark.size_bytes = kSize;
    const Bytes room = layout::encode_mark(mark, 4096);
    std::copy_n(room.begin(), 3584, bytes->content.end() - static_cast<std::ptrdiff_t>(room.size()));
    const MemoryDevice source(source_disk()), before(bytes);
    ASSERT_TRUE(layout::find_mark(before));
    CopyOptions options;
    options.unused = Unused::kKeep;
    const CopyPlan plan = make_plan(source, before, options);
    block::Target target(std::make_unique<MemoryDevice>(bytes), plan.protected_regions());
    Progress progress;
    ApplyContext context{progress, {}, 0, {}, {}};
    apply_plan(plan, source, target, context);
    EXPECT_FALSE(layout::find_mark(before)) << "a complete copy calls itself unfinished";
}

TEST(Refit, APartitionThatBeginsWithinALargeSectorIsRefusedByName) {
    auto disk = std::make_shared<test::DiskBytes>(kSize);
    put(*disk, test::make_gpt(kSize, {{2, {kMiB + 512, 8 * kMiB}}}, 1));
    EXPECT_THAT(refusal(disk), HasSubstr("partition 2: it begins at byte 1049088"));
}

TEST(Refit, APartitionThatEndsWithinALargeSectorIsNotCutIfItMayUseThat) {
    auto disk = std::make_shared<test::DiskBytes>(kSize);
    put(*disk, test::make_gpt(kSize, {{2, {kMiB, 8 * kMiB + 512}}}, 1));
    EXPECT_THAT(refusal(disk), HasSubstr("partition 2: it ends within a sector of 4096 bytes"));
}

TEST(Refit, ABootLoaderWhereTheNewTableMustLieIsNotOverwritten) {
    auto disk = source_disk();
    disk->content[20'000] = std::byte{1};  // behind 34 sectors of 512, within six of 4096
    EXPECT_THAT(refusal(disk), HasSubstr("holds data at byte"));
}

TEST(Refit, ABootLoaderBehindTheNewTableGoesAlong) {
    auto disk = source_disk();
    disk->content[40'000] = std::byte{1};
    const MemoryDevice source(disk), target(target_disk(4096), 4096);
    const Refitted refitted = refit_source(source, target, {});
    EXPECT_EQ(block::read_extent(*refitted.view, {40'000, 40'001})[0], std::byte{1});
}

TEST(Refit, TheSourcesOwnProfileStaysWithTheSource) {
    auto recipes = two_partitions();
    recipes.push_back({4, {24 * kMiB, 24 * kMiB + 512}, "profile", layout::type_guid::kProfile});
    const MemoryDevice source(test::make_gpt_disk(kSize, recipes, 1)), target(target_disk(4096), 4096);
    const Refitted refitted = refit_source(source, target, {});
    EXPECT_EQ(layout::read_partition_table(*refitted.view).by_number(4), nullptr);
    EXPECT_TRUE(is_zero(block::read_extent(*refitted.view, {24 * kMiB, 25 * kMiB})));
    EXPECT_THAT(refitted.notes, ::testing::Contains(HasSubstr("the source's own profile (partition 4)")));
}

TEST(Refit, AHybridMbrNamesTheSamePlaces) {
    auto disk = source_disk();
    const auto entry = std::span(disk->content).subspan(446 + 16, 16);
    entry[4] = std::byte{0x0C};
    store_le<std::uint32_t>(entry, 8, kMiB / 512);
    store_le<std::uint32_t>(entry, 12, 7 * kMiB / 512);
    const MemoryDevice source(disk), target(target_disk(4096), 4096);
    const Refitted refitted = refit_source(source, target, {});
    const Bytes sector0 = block::read_extent(*refitted.view, {0, 4096});
    EXPECT_EQ(load_le<std::uint32_t>(sector0, 446 + 16 + 8), kMiB / 4096);
    EXPECT_EQ(load_le<std::uint32_t>(sector0, 446 + 16 + 12), 7 * kMiB / 4096);
    EXPECT_TRUE(layout::read_partition_table(*refitted.view).problems.empty());
}

TEST(Refit, LogicalPartitionsOfAnMbrStayWhereTheyAre) {
    auto disk = std::make_shared<test::DiskBytes>(kSize);
    layout::PartitionTable table;
    table.kind = layout::TableKind::kMbr;
    table.sector0 = Bytes(512);
    table.mbr_signature = 0x12345678;
    table.mbr_extended = Extent{8 * kMiB, 24 * kMiB - 512};
    table.mbr_extended_type = 0x05;
    layout::Partition primary, five, six;
    primary.number = 1, five.number = 5, six.number = 6;
    primary.mbr_type = five.mbr_type = six.mbr_type = 0x83;
    primary.extent = {kMiB, 8 * kMiB}, five.extent = {9 * kMiB, 14 * kMiB},
    six.extent = {15 * kMiB, 20 * kMiB};
    five.mbr_logical = six.mbr_logical = true;
    table.partitions = {primary, five, six};
    test::fill_pattern(std::span(disk->content).subspan(kMiB, 19 * kMiB), 5);
    put(*disk, table);
    const MemoryDevice source(disk), target(target_disk(4096), 4096);
    const Refitted refitted = refit_source(source, target, {});
    const auto before = layout::read_partition_table(source);
    const auto after = layout::read_partition_table(*refitted.view);
    EXPECT_EQ(after.kind, layout::TableKind::kMbr);
    EXPECT_EQ(after.mbr_signature, before.mbr_signature);
    EXPECT_EQ(after.partitions, before.partitions);
    for (const auto& p : before.partitions)
        EXPECT_EQ(block::read_extent(*refitted.view, p.extent), block::read_extent(source, p.extent));
}

TEST(Refit, ATargetThatIsTooSmallIsStillCalledTooSmall) {
    const MemoryDevice source(source_disk());
    const MemoryDevice target(test::make_gpt_disk(16 * kMiB, {}, 2, false, 4096), 4096);
    const Refitted refitted = refit_source(source, target, {});
    try {
        make_plan(*refitted.view, target, {});
        FAIL() << "12 MiB of the second partition have no room";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("too small"));
    }
}

}  // namespace
}  // namespace dupengine::engine
