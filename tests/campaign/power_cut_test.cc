// Power cuts on a disk with a write cache: after a cut anything that was not flushed may be there, torn, or
// not.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "engine/apply.h"
#include "tests/support/crash_disk.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using test::CrashDisk;
using test::Cut;
using test::DiskBytes;
using test::make_gpt_disk;
using test::MemoryDevice;

constexpr std::uint64_t kSize = 4 * kMiB;
const Extent kFirst{kMiB, kMiB + 512 * kKiB};
const Extent kSecond{kMiB + 512 * kKiB, 2 * kMiB + 512 * kKiB};
const Extent kProfilePlace{3 * kMiB, 3 * kMiB + 256 * kKiB};

Bytes old_disk(unsigned profile_number) {
    return make_gpt_disk(kSize,
                         {{1, {kMiB, 3 * kMiB}, "old"},
                          {profile_number, kProfilePlace, "profile", layout::type_guid::kProfile}},
                         2, true)
        ->content;
}

struct Setting {
    std::shared_ptr<DiskBytes> from = make_gpt_disk(kSize, {{1, kFirst, "esp"}, {2, kSecond, "root"}}, 1);
    Bytes old = old_disk(128);
    Extent second = kSecond;
    unsigned profile_number = 128;
};

// Four entries: the root reaches up to the two sectors that the backup takes, over the place of the mark.
Setting setting_with_a_short_table() {
    const Extent root{kProfilePlace.end, kSize - 1024};
    Setting setting{std::make_shared<DiskBytes>(kSize), old_disk(4), root, 4};
    const std::vector<test::PartitionRecipe> recipes = {{1, kFirst, "esp"}, {2, root, "root"}};
    for (const auto& recipe : recipes)
        test::fill_pattern(
            std::span(setting.from->content).subspan(recipe.extent.begin, recipe.extent.size()),
            recipe.number);
    layout::PartitionTable table = test::make_gpt(kSize, recipes, 1);
    table.entry_count = 4;
    table.first_usable_lba = 3;
    test::put_table(*setting.from, table);
    return setting;
}

std::shared_ptr<const CrashDisk::Log> copy_onto(const Setting& setting, const Bytes& medium,
                                                Bytes* after = nullptr) {
    const MemoryDevice source(setting.from, 512, "source");
    auto device = std::make_unique<CrashDisk>(medium);
    const auto log = device->log();
    const CopyPlan plan = make_plan(source, *device, {});
    block::Target target(std::move(device), plan.protected_regions());
    Progress progress;
    ApplyContext context{progress, {}, 1, {}};
    apply_plan(plan, source, target, context);
    if (after != nullptr) *after = block::read_extent(target, {0, kSize});
    return log;
}

bool same(const Bytes& a, const Bytes& b, Extent part) {
    return std::equal(a.begin() + part.begin, a.begin() + part.end, b.begin() + part.begin);
}

std::string judge(const Setting& setting, const Bytes& medium) {
    if (!same(medium, setting.old, kProfilePlace)) return "the profile changed";
    auto bytes = std::make_shared<DiskBytes>(0);
    bytes->content = medium;
    const auto described = layout::describe_disk(MemoryDevice(bytes), layout::Depth::kTable);
    const bool has_table = described.damaged_table.empty() && described.table.kind == layout::TableKind::kGpt;
    if (!has_table) {
        if (!described.incomplete) return "neither a table nor a mark: the profile cannot be found";
        if (described.incomplete->kept.size() != 1 || described.incomplete->kept[0].extent != kProfilePlace)
            return "the mark does not name the profile";
        return "";
    }
    const auto* profile = described.table.by_number(setting.profile_number);
    if (profile == nullptr || profile->extent != kProfilePlace) return "the table does not name the profile";
    const bool is_old = described.table.by_number(2) == nullptr;
    const Bytes& want = is_old ? setting.old : setting.from->content;
    // The old disk has nothing where the mark comes to stand.
    const Extent second = is_old ? setting.second.clipped_to({0, kSize - 34 * 512}) : setting.second;
    if (!same(medium, want, kFirst) || !same(medium, want, second))
        return "a valid table over half-copied partitions";
    return "";
}

void expect_no_cut_does_harm(const Setting& setting) {
    const char* given = std::getenv("DUPENGINE_SEED");
    const std::uint64_t first_seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    const auto log = copy_onto(setting, setting.old);
    std::size_t cases = 0;
    for (std::size_t cut = 0; cut <= log->size(); ++cut) {
        for (const Cut kind : {Cut::kPrefix, Cut::kTorn, Cut::kSubset}) {
            const std::size_t rounds = kind == Cut::kPrefix ? 1 : 40;
            for (std::size_t round = 0; round < rounds; ++round) {
                const std::uint64_t seed = first_seed + cut * 100 + round;
                SeededRandom random(seed);
                const Bytes medium = test::medium_after(setting.old, *log, cut, kind, random);
                const std::string verdict = judge(setting, medium);
                ASSERT_EQ(verdict, "")
                    << "cut " << cut << " of " << log->size() << ", kind " << static_cast<int>(kind)
                    << ", seed " << seed << "; repeat: DUPENGINE_SEED=" << first_seed
                    << " campaign_tests --gtest_filter=PowerCut.*";
                ++cases;
                if (round != 0) continue;
                Bytes after;
                copy_onto(setting, medium, &after);
                ASSERT_TRUE(same(after, setting.from->content, kFirst) &&
                            same(after, setting.from->content, setting.second) &&
                            same(after, setting.old, kProfilePlace))
                    << "the second run after cut " << cut << " did not complete";
            }
        }
    }
    std::printf("%zu cases, 0 failures, seed %llu\n", cases, static_cast<unsigned long long>(first_seed));
    ASSERT_GE(cases, 500u);
}

TEST(PowerCut, AnyCutLeavesTheOldDiskAMarkedOneOrTheCompleteOne) {
    expect_no_cut_does_harm(Setting{});
}

TEST(PowerCut, TheSameWhereAShortTableLetsAPartitionReachIntoTheMark) {
    expect_no_cut_does_harm(setting_with_a_short_table());
}

}  // namespace
}  // namespace dupengine::engine
