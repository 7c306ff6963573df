#include "engine/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "tests/support/gpt_disk.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using test::DiskBytes;
using test::make_gpt_disk;
using test::MemoryDevice;
using test::PartitionRecipe;

constexpr std::uint64_t kSize = 16 * kMiB;
const Extent kFirst{kMiB, 4 * kMiB};
const Extent kSecond{4 * kMiB, 9 * kMiB};
const Extent kProfilePlace{14 * kMiB, 15 * kMiB};

std::shared_ptr<DiskBytes> source_disk(std::uint64_t size = kSize) {
    return make_gpt_disk(size, {{1, kFirst, "esp"}, {2, kSecond, "root"}}, 1);
}

PartitionRecipe profile(unsigned number = 128, Extent place = kProfilePlace) {
    return {number, place, "dupengine-profile", layout::type_guid::kProfile};
}

CopyPlan plan_of(const std::shared_ptr<DiskBytes>& from, const std::shared_ptr<DiskBytes>& to,
                 CopyOptions options = {}) {
    return make_plan(MemoryDevice(from, 512, "source"), MemoryDevice(to, 512, "target"), options);
}

// The message of the refusal, or "" if there was none or it had another code.
std::string refusal(const std::shared_ptr<DiskBytes>& from, const std::shared_ptr<DiskBytes>& to,
                    CopyOptions options = {}) {
    try {
        plan_of(from, to, options);
    } catch (const Error& e) {
        return e.code() == Code::kRefused ? e.what() : "";
    }
    return "";
}

TEST(Plan, NeverWritesToEitherSide) {
    const auto from = source_disk();
    const auto to = make_gpt_disk(2 * kSize, {profile()}, 2, true);
    const Bytes source_before = from->content, target_before = to->content;
    plan_of(from, to);
    EXPECT_EQ(from->content, source_before);
    EXPECT_EQ(to->content, target_before);
}

TEST(Plan, TheProfileIsFoundByItselfAndKeepsItsEntry) {
    const auto to = make_gpt_disk(kSize, {{1, {2 * kMiB, 13 * kMiB}, "old"}, profile()}, 2, true);
    const CopyPlan plan = plan_of(source_disk(), to);
    ASSERT_EQ(plan.kept.size(), 1u);
    EXPECT_EQ(plan.kept[0].extent, kProfilePlace);
    const auto old_table = layout::read_partition_table(MemoryDevice(to));
    ASSERT_NE(plan.table.by_number(128), nullptr);
    EXPECT_EQ(*plan.table.by_number(128), *old_table.by_number(128));
    EXPECT_FALSE(plan.data.touches(kProfilePlace));
    EXPECT_FALSE(plan.zero.touches(kProfilePlace));
}

TEST(Plan, EveryByteOfTheTargetIsDecided) {
    const CopyPlan plan = plan_of(source_disk(), make_gpt_disk(2 * kSize, {profile()}, 2, true));
    ExtentSet all = plan.data;
    all.insert(plan.zero);
    std::uint64_t total = plan.data.total_bytes() + plan.zero.total_bytes() + kProfilePlace.size();
    for (const BootStage& stage : plan.boot)
        for (const auto& piece : stage.pieces) {
            const Extent place{piece.offset, piece.offset + piece.content.size()};
            EXPECT_FALSE(all.touches(place)) << stage.name;
            all.insert(place);
            total += place.size();
        }
    all.insert(kProfilePlace);
    EXPECT_EQ(all, (ExtentSet{{0, 2 * kSize}}));
    EXPECT_EQ(total, 2 * kSize) << "some bytes are decided twice";
}

TEST(Plan, UnusedRangesStayOnlyWhenAskedTo) {
    CopyOptions options;
    options.unused = Unused::kKeep;
    EXPECT_TRUE(plan_of(source_disk(), make_gpt_disk(kSize, {}, 2, true), options).zero.empty());
}

TEST(Plan, APartitionOfTheSourceOverTheProfileIsRefused) {
    const auto to = make_gpt_disk(kSize, {profile(128, {8 * kMiB, 9 * kMiB})}, 2);
    EXPECT_NE(refusal(source_disk(), to).find("partition 2 of the source would lie on profile"),
              std::string::npos);
}

TEST(Plan, ANumberThatBothNeedIsRefused) {
    EXPECT_NE(refusal(source_disk(), make_gpt_disk(kSize, {profile(2)}, 2)).find("has number 2"),
              std::string::npos);
}

TEST(Plan, TheSourcesOwnProfileIsNotCopied) {
    const auto from = make_gpt_disk(kSize, {{1, kFirst}, profile(5, {10 * kMiB, 11 * kMiB})}, 1);
    const CopyPlan plan = plan_of(from, make_gpt_disk(kSize, {profile()}, 2));
    EXPECT_EQ(plan.table.by_number(5), nullptr);
    EXPECT_FALSE(plan.data.touches({10 * kMiB, 11 * kMiB}));
    EXPECT_TRUE(plan.zero.contains(Extent{10 * kMiB, 11 * kMiB}));
}

TEST(Plan, ASourceWithoutAGptCannotKeepAProfile) {
    const auto bare = std::make_shared<DiskBytes>(8 * kMiB);
    test::fill_pattern(bare->content, 9);
    EXPECT_NE(refusal(bare, make_gpt_disk(kSize, {profile()}, 2)).find("only a GPT can hold it"),
              std::string::npos);
    EXPECT_EQ(refusal(bare, make_gpt_disk(kSize, {}, 2)), "");
}

TEST(Plan, OneSectorTooSmallIsRefusedAndOneMoreIsEnough) {
    const auto from = make_gpt_disk(kSize, {{1, {kMiB, kSize - 34 * 512 + 512}}}, 1);
    EXPECT_EQ(refusal(from, std::make_shared<DiskBytes>(kSize)), "");
    EXPECT_NE(refusal(from, std::make_shared<DiskBytes>(kSize - 512)).find("too small"), std::string::npos);
    const auto bare = std::make_shared<DiskBytes>(kMiB);
    test::fill_pattern(bare->content, 9);
    EXPECT_NE(refusal(bare, std::make_shared<DiskBytes>(kMiB - 512)).find("too small"), std::string::npos);
}

TEST(Plan, TheOrderOfTheNumbersDoesNotChangeWhatIsCopied) {
    const Extent third{10 * kMiB, 12 * kMiB};
    const auto in_order = make_gpt_disk(kSize, {{1, kFirst}, {2, kSecond}, {3, third}}, 1);
    const auto reversed = make_gpt_disk(kSize, {{1, third}, {2, kSecond}, {3, kFirst}}, 1);
    const auto to = make_gpt_disk(kSize, {profile()}, 2);
    const CopyPlan plan = plan_of(reversed, to);
    EXPECT_EQ(plan.data, plan_of(in_order, to).data);
    EXPECT_EQ(plan.zero, plan_of(in_order, to).zero);
    for (const Extent part : {kFirst, kSecond, third})
        EXPECT_TRUE(plan.data.contains(part));
}

std::shared_ptr<DiskBytes> disk_with_few_entries(std::uint32_t count, Extent root) {
    auto disk = std::make_shared<DiskBytes>(kSize);
    layout::PartitionTable table = test::make_gpt(kSize, {{1, kFirst}, {2, root, "root"}}, 1);
    table.entry_count = count;
    table.first_usable_lba = 2 + count / 4;
    test::fill_pattern(std::span(disk->content).subspan(root.begin, root.size()), 3);
    test::put_table(*disk, table);
    return disk;
}

TEST(Plan, ADiskWithFewTableEntriesFitsOnOneOfItsOwnSize) {
    for (std::uint32_t count : {4u, 16u}) {
        const Extent root{kSecond.begin, kSize - (1 + count / 4) * 512};
        const auto from = disk_with_few_entries(count, root);
        const CopyPlan plan = plan_of(from, std::make_shared<DiskBytes>(kSize));
        EXPECT_EQ(plan.table.entry_count, count);
        EXPECT_NE(refusal(from, std::make_shared<DiskBytes>(kSize - 512)).find("too small"),
                  std::string::npos);
        ASSERT_EQ(plan.boot.size(), 3u);
        EXPECT_EQ(plan.boot[0].name, "end of the disk") << "the root's last bytes would come after its table";
        EXPECT_EQ(plan.boot[1].name, "sector 0");
    }
}

TEST(Plan, AShortTableGrowsForTheNumberOfAProfileWhereThereIsRoom) {
    const auto to = make_gpt_disk(kSize, {profile()}, 2);
    const CopyPlan plan = plan_of(disk_with_few_entries(4, kSecond), to);
    EXPECT_EQ(plan.table.entry_count, 128u);
    EXPECT_NE(plan.table.by_number(128), nullptr);
    EXPECT_EQ(plan.boot[0].name, "start of the disk");
    const auto full = disk_with_few_entries(4, {15 * kMiB, kSize - 1024});
    EXPECT_NE(refusal(full, to).find("holds only 4 and has no room for more"), std::string::npos);
    EXPECT_EQ(refusal(full, make_gpt_disk(kSize, {profile(3)}, 2)), "");
}

TEST(Plan, ASmallerTargetIsFineWhenThePartitionsFit) {
    const CopyPlan plan = plan_of(source_disk(2 * kSize), std::make_shared<DiskBytes>(kSize));
    EXPECT_EQ(plan.table.partitions.size(), 2u);
}

TEST(Plan, WhatTheUserProtectsIsKeptByLabelByGuidAndByExtent) {
    const auto to = make_gpt_disk(kSize, {{7, {10 * kMiB, 12 * kMiB}, "keep-me"}, profile()}, 2);
    const auto table = layout::read_partition_table(MemoryDevice(to));
    const std::string guid = table.by_number(7)->guid.text();
    const std::vector<std::string> ways = {"keep-me", "PARTLABEL=keep-me", guid, "PARTUUID=" + guid};
    for (const std::string& given : ways) {
        CopyOptions options;
        options.protect = {given};
        const CopyPlan plan = plan_of(source_disk(), to, options);
        ASSERT_EQ(plan.kept.size(), 2u) << given;
        EXPECT_EQ(*plan.table.by_number(7), *table.by_number(7)) << given;
    }
    CopyOptions options;
    options.protect = {"10MiB+1MiB", "11MiB..12MiB"};
    const CopyPlan plan = plan_of(source_disk(), to, options);
    EXPECT_EQ(plan.kept.size(), 3u);
    EXPECT_EQ(plan.table.by_number(7), nullptr);
    EXPECT_FALSE(plan.zero.touches({10 * kMiB, 12 * kMiB}));
}

TEST(Plan, ProtectionThatCannotBeMeantIsRefused) {
    const auto to =
        make_gpt_disk(kSize, {{1, {10 * kMiB, 11 * kMiB}, "twin"}, {2, {11 * kMiB, 12 * kMiB}, "twin"}}, 2);
    for (const char* given : {"nobody", "PARTUUID=nobody", "twin", "15MiB+2MiB", "5MiB..5MiB"}) {
        CopyOptions options;
        options.protect = {given};
        EXPECT_NE(refusal(source_disk(), to, options), "") << given;
    }
    CopyOptions options;
    options.protect = {"0+1MiB"};
    EXPECT_NE(refusal(source_disk(), to, options).find("table must be written"), std::string::npos);
}

TEST(Plan, ATargetWithADamagedTableIsRefusedUntilThatIsAccepted) {
    const auto to = make_gpt_disk(kSize, {profile()}, 2);
    to->content[512 + 40] ^= std::byte{1};          // primary header
    to->content[kSize - 512 + 40] ^= std::byte{1};  // backup header
    EXPECT_NE(refusal(source_disk(), to).find("--ignore-target-table"), std::string::npos);
    CopyOptions options;
    options.ignore_target_table = true;
    EXPECT_EQ(refusal(source_disk(), to, options), "");
}

TEST(Plan, AProfileThatOnlyABackupTableNamesIsNotOverwritten) {
    const auto wiped = make_gpt_disk(kSize, {profile()}, 2);
    std::fill_n(wiped->content.begin(), kMiB, std::byte{0});
    EXPECT_NE(refusal(source_disk(), wiped).find("names a profile"), std::string::npos);
    const auto under_mbr = make_gpt_disk(kSize, {profile()}, 2);
    under_mbr->content[450] = std::byte{0x83};  // the protective entry becomes an ordinary one
    EXPECT_NE(refusal(source_disk(), under_mbr).find("names a profile"), std::string::npos);
    CopyOptions options;
    options.ignore_target_table = true;
    EXPECT_EQ(refusal(source_disk(), wiped, options), "");
}

TEST(Plan, ARegionThatIsNotWholeSectorsOfTheCopyIsRefused) {
    CopyOptions options;
    options.protect = {"14337K+1K"};
    const auto from = make_gpt_disk(kSize, {{1, kFirst}}, 1, false, 4096);
    EXPECT_NE(refusal(from, std::make_shared<DiskBytes>(kSize), options).find("4096 byte sectors"),
              std::string::npos);
}

TEST(Plan, ASourceWithADamagedTableIsTheSourcesFault) {
    const auto from = source_disk();
    from->content[512 + 40] ^= std::byte{1};
    from->content[kSize - 512 + 40] ^= std::byte{1};
    try {
        plan_of(from, std::make_shared<DiskBytes>(kSize));
        FAIL() << "planned a copy of a damaged table";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kSourceIo);
    }
}

TEST(Plan, DifferentSectorSizesAreRefusedWithTheReason) {
    const auto from = source_disk();
    const auto to = make_gpt_disk(kSize, {{1, kFirst}}, 2, false, 4096);
    EXPECT_NE(refusal(from, to).find("512 bytes and target has 4096"), std::string::npos);
}

TEST(Plan, TheBackupTableGoesToTheEndOfALargerDisk) {
    const CopyPlan plan = plan_of(source_disk(), std::make_shared<DiskBytes>(3 * kSize));
    EXPECT_EQ(plan.boot.back().pieces.back().offset + plan.boot.back().pieces.back().content.size(),
              3 * kSize);
}

std::vector<CopyPlan> plans_of(const std::vector<std::shared_ptr<DiskBytes>>& targets,
                               const CopyOptions& options) {
    std::deque<MemoryDevice> devices;
    std::vector<DiskPair> pairs;
    for (const auto& to : targets) {
        const MemoryDevice& source = devices.emplace_back(source_disk(), 512, "source");
        pairs.push_back({source, devices.emplace_back(to, 512, fmt::format("target {}", pairs.size()))});
    }
    return make_plans(pairs, options);
}

TEST(PlanOfASet, WhatIsProtectedStaysOnTheOneTargetThatHasIt) {
    const auto first = make_gpt_disk(kSize, {{7, {10 * kMiB, 12 * kMiB}, "mail"}}, 2),
               second = make_gpt_disk(kSize, {{7, {10 * kMiB, 12 * kMiB}, "web"}, profile()}, 3);
    CopyOptions options;
    options.protect = {"web"};
    const auto plans = plans_of({first, second}, options);
    ASSERT_EQ(plans.size(), 2u);
    EXPECT_TRUE(plans[0].kept.empty());
    EXPECT_EQ(plans[1].kept.size(), 2u) << "its own profile, and what was named";
}

TEST(PlanOfASet, ProtectionThatDoesNotSayOnWhichTargetIsNotGuessed) {
    const auto target = [](std::uint64_t seed) {
        return make_gpt_disk(kSize, {{7, {10 * kMiB, 12 * kMiB}, "twin"}}, seed);
    };
    const auto code_of = [&](const std::string& given) {
        CopyOptions options;
        options.protect = {given};
        try {
            plans_of({target(2), target(3)}, options);
        } catch (const Error& e) {
            return e.code();
        }
        return Code::kInternal;
    };
    EXPECT_EQ(code_of("twin"), Code::kRefused);
    EXPECT_EQ(code_of("nobody"), Code::kRefused);
    EXPECT_EQ(code_of("10MiB+1MiB"), Code::kUsage);
}

TEST(PlanOfASet, OneRefusalRefusesAll) {
    EXPECT_THROW(plans_of({make_gpt_disk(kSize, {}, 2), std::make_shared<DiskBytes>(kMiB)}, {}), Error);
}

}  // namespace
}  // namespace dupengine::engine
