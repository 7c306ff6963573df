// Power cuts on a disk with a write cache: after a cut anything that was not flushed may be there, torn, or
// not.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "engine/apply.h"
#include "engine/journal.h"
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

std::uint64_t given_seed() {
    const char* given = std::getenv("DUPENGINE_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
}

void expect_no_cut_does_harm(const Setting& setting) {
    const std::uint64_t first_seed = given_seed();
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

// Copies with a journal, and the runs that go on by it. A small disk: each run is cut at each of its writes.
class JournaledCopy {
  public:
    /// Two sources differ in every byte of the partitions, and in nothing that a plan could see.
    explicit JournaledCopy(std::byte difference = {})
        : state_(std::to_string(std::to_integer<int>(difference))) {
        for (ByteOffset at = kBoot.begin; at < kRoot.end; ++at)
            from_->content[at] ^= difference;
        uncut_ = run(old_).first;
    }

    const Bytes& old() const { return old_; }
    const Bytes& uncut() const { return uncut_; }

    using Log = std::shared_ptr<const CrashDisk::Log>;
    /// The disk afterwards, and how it got there.
    std::pair<Bytes, Log> run(const Bytes& medium, std::uint64_t* resumed = nullptr) const {
        auto device = std::make_unique<CrashDisk>(medium);
        const Log log = device->log();
        const CopyPlan plan = plan_for(*device);
        block::Target target(std::move(device), plan.protected_regions());
        Progress progress;
        ApplyContext context{progress, {}, 1, {}};
        context.journal_pace = std::chrono::milliseconds(0);
        const CopyReport report = apply_plan(plan, MemoryDevice(from_, 512, "source"), target, context);
        if (resumed != nullptr) *resumed = report.bytes_resumed;
        return {block::read_extent(target, {0, kDisk}), log};
    }

    /// What a journal on this medium says that is not so.
    std::string untruth(const Bytes& medium) const {
        auto bytes = std::make_shared<DiskBytes>(0);
        bytes->content = medium;
        const MemoryDevice disk(bytes);
        const CopyPlan plan = plan_for(disk);
        if (!plan.journal || !plan.journal->continues) return "";
        const auto content =
            read_journal(disk, plan.journal->mark, count_chunks(plan.data, plan.journal->chunk_bytes));
        ChunkDealer dealer(plan.data, plan.journal->chunk_bytes);
        while (const auto chunk = dealer.next())
            for (Extent e : chunk->extents)
                if (content.chunks.was_equal[chunk->number] != 0 && !same(medium, from_->content, e))
                    return "the journal names " + e.text() + ", which is not on the medium";
        return "";
    }

  private:
    static constexpr std::uint64_t kDisk = kMiB;
    static constexpr Extent kBoot{128 * kKiB, 256 * kKiB}, kRoot{256 * kKiB, 640 * kKiB},
        kKeptPlace{704 * kKiB, 768 * kKiB};

    CopyPlan plan_for(const block::Reader& target) const {
        CopyOptions options;
        options.source_state = state_;
        options.tuning = {.workers = 1, .depth = 2, .chunk_bytes = 64 * kKiB};
        return make_plan(MemoryDevice(from_, 512, "source"), target, options);
    }

    std::string state_;
    std::shared_ptr<DiskBytes> from_ = make_gpt_disk(kDisk, {{1, kBoot, "esp"}, {2, kRoot, "root"}}, 1);
    Bytes old_ = make_gpt_disk(kDisk,
                               {{1, {128 * kKiB, 640 * kKiB}, "old"},
                                {128, kKeptPlace, "profile", layout::type_guid::kProfile}},
                               2, true)
                     ->content;
    Bytes uncut_;
};

struct Figures {
    std::size_t cases = 0, resumed = 0;
    std::uint64_t most_bytes = 0;
};

// Cuts a run that begins on `medium` at each of its writes. `then` gets what is on the disk after each cut.
template <typename Then>
void cut_everywhere(const JournaledCopy& copy, const Bytes& medium, std::uint64_t seed, std::size_t rounds,
                    Figures& figures, Then&& then) {
    const JournaledCopy::Log log = copy.run(medium).second;
    for (std::size_t cut = 0; cut <= log->size(); ++cut) {
        for (const Cut kind : {Cut::kPrefix, Cut::kTorn, Cut::kSubset}) {
            for (std::size_t round = 0; round < (kind == Cut::kPrefix ? 1 : rounds); ++round) {
                SeededRandom random(seed + cut * 100 + round);
                const Bytes after = test::medium_after(medium, *log, cut, kind, random);
                ++figures.cases;
                ASSERT_EQ(copy.untruth(after), "") << "cut " << cut << " of " << log->size() << ", kind "
                                                   << static_cast<int>(kind) << ", seed " << seed;
                then(after);
                if (::testing::Test::HasFatalFailure()) return;
            }
        }
    }
}

void expect_completion(const JournaledCopy& copy, const Bytes& medium, Figures& figures) {
    std::uint64_t resumed = 0;
    ASSERT_EQ(copy.run(medium, &resumed).first, copy.uncut()) << "a cut copy became another";
    if (resumed != 0) ++figures.resumed;
    figures.most_bytes = std::max(figures.most_bytes, resumed);
}

TEST(PowerCut, ACutResumeIsResumedAndNothingIsNamedThatIsNotThere) {
    const std::uint64_t seed = given_seed();
    const JournaledCopy copy;
    Figures first, second;
    std::size_t number = 0;
    cut_everywhere(copy, copy.old(), seed, 2, first, [&](const Bytes& medium) {
        expect_completion(copy, medium, first);
        // Of the first cuts a part, of the second each.
        if (number++ % 83 != 0) return;
        cut_everywhere(copy, medium, seed + number, 2, second,
                       [&](const Bytes& again) { expect_completion(copy, again, second); });
    });
    ASSERT_FALSE(HasFailure()) << "repeat: DUPENGINE_SEED=" << seed
                               << " campaign_tests --gtest_filter=PowerCut.ACutResume*";
    std::printf("%zu cut copies, %zu of them resumed; %zu cut resumes, %zu resumed again; seed %llu\n",
                first.cases, first.resumed, second.cases, second.resumed,
                static_cast<unsigned long long>(seed));
    EXPECT_GE(first.resumed, first.cases / 2);
    EXPECT_GE(second.resumed, second.cases / 2);
    EXPECT_GE(first.most_bytes, 512 * kKiB) << "no cut when all was copied";
}

// The journal of the first must be out of force before the first byte of the second is written.
TEST(PowerCut, ACutCopyOfAnotherSourceOverACutOneIsNeverAMixture) {
    const std::uint64_t seed = given_seed();
    const JournaledCopy one, other(std::byte{0xFF});
    Figures first, second, back;
    std::size_t number = 0;
    cut_everywhere(one, one.old(), seed, 1, first, [&](const Bytes& medium) {
        if (number++ % 61 != 0) return;
        cut_everywhere(other, medium, seed + number, 1, second, [&](const Bytes& again) {
            ASSERT_EQ(one.untruth(again), "");
            expect_completion(other, again, second);
            expect_completion(one, again, back);
        });
    });
    ASSERT_FALSE(HasFailure()) << "repeat: DUPENGINE_SEED=" << seed
                               << " campaign_tests --gtest_filter=PowerCut.ACutCopyOf*";
    std::printf(
        "%zu cut copies of another source, %zu of them resumed, %zu given up for the first again; seed "
        "%llu\n",
        second.cases, second.resumed, second.cases - back.resumed, static_cast<unsigned long long>(seed));
    EXPECT_GE(second.resumed, second.cases / 2);
}

}  // namespace
}  // namespace dupengine::engine
