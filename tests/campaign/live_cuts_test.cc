// A machine is duplicated while it runs, and the connection is cut at each step of what both ends say, also
// in the pause. The source runs on whatever happens: nothing stays frozen, nobody who was prepared is left
// waiting, the gate is open, no process is left. And the target is either all of the source as it was in one
// moment, or plainly nothing: never a disk that starts, never memory that could be become. Its disk starts in
// no case before somebody has made it one who woke up in that memory.

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "block/open.h"
#include "layout/describe.h"
#include "tests/support/campaign.h"
#include "tests/support/cut_network.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/live_rig.h"
#include "tests/support/remote_copy.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using block::Extent;
using test::BusyMachine;
using test::Cut;
using test::CutNetwork;
using test::DiskBytes;
using test::MemoryDevice;
using wire::Type;

// Behind all that the source has.
constexpr Extent kProfile{19 * kMiB, 20 * kMiB};

// What becomes of a connection that was cut.
enum class After { kMadeAgain, kTargetIsGone, kSourceIsGone };
constexpr After kAllAfter[] = {After::kMadeAgain, After::kTargetIsGone, After::kSourceIsGone};
constexpr const char* kAfterNames[] = {"made again", "the target is gone", "the source's end is gone"};

std::size_t open_descriptors() {
    namespace fs = std::filesystem;
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

// Processes of ours, and those that lost their parent.
std::size_t children() {
    std::size_t count = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::ifstream list(task.path() / "children");
        for (pid_t child = 0; list >> child;)
            ++count;
    }
    return count;
}

bool all_children_end() {
    for (int i = 0; i < 500; ++i) {
        while (::waitpid(-1, nullptr, WNOHANG) > 0) {
        }
        if (children() == 0) return true;
        std::this_thread::sleep_for(10ms);
    }
    return false;
}

class LiveCuts : public testing::Test {
  protected:
    LiveCuts() {
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        const auto disk = test::make_gpt_disk(
            BusyMachine::kDiskBytes,
            {{1, {kMiB, 3 * kMiB}, "old"}, {128, kProfile, "profile", layout::type_guid::kProfile}}, 2, true);
        before_ = disk->content;
    }
    ~LiveCuts() override { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }

    test::Duplicated duplicate(const std::vector<Cut>& cuts, After after);
    void cut_at(const Cut& cut, After after, bool may_be_complete);

    void expect_source_runs_on();
    void expect_target_is_one_moment(const test::Duplicated& outcome);
    void end_as_a_wake_does(const test::Duplicated& outcome);
    void expect_target_is_nothing();
    std::shared_ptr<DiskBytes> target_disk() const { return test::load_file(target_); }

    BusyMachine machine_;
    test::ScratchFolder folder_;
    const std::string target_ = folder_.file("target.img");
    Bytes before_;
    bool hold_pause_ = false;
    std::function<void(std::uint32_t)> on_group_ = [](std::uint32_t) {};
    std::size_t cuts_ = 0;
    std::size_t descriptors_ = 0;  // after the first duplication
};

test::Duplicated LiveCuts::duplicate(const std::vector<Cut>& cuts, After after) {
    write_file_atomic(target_, before_, 0600, Code::kInternal);
    test::Duplication how{target_, cuts};
    how.patience = {.silence = 10s,
                    .message = 10s,
                    .beat = 50ms,
                    .farewell = 500ms,
                    .outage = after == After::kMadeAgain ? 15s : 400ms,
                    .pause = 1ms};
    how.source_goes_on = after != After::kSourceIsGone;
    how.target_goes_on = after != After::kTargetIsGone;
    how.hold_pause = hold_pause_;
    how.on_group = on_group_;
    return test::duplicate_live(machine_, how);
}

void LiveCuts::expect_source_runs_on() {
    EXPECT_TRUE(machine_.is_at_work()) << "the source stands still";
    const auto& seen = machine_.seen();
    EXPECT_EQ(seen.prepared, seen.resumed + seen.aborted) << "somebody waits to be told how it went on";
    EXPECT_LE(seen.resumed, 1) << "it was done more than once";
    EXPECT_EQ(seen.gate_closed, seen.gate_opened) << "the source is silent for ever";
    EXPECT_TRUE(all_children_end()) << "a process is left";
    if (descriptors_ == 0) descriptors_ = open_descriptors();
    EXPECT_EQ(open_descriptors(), descriptors_) << "something is held";
}

// With the role on it the disk becomes one.
void LiveCuts::end_as_a_wake_does(const test::Duplicated& outcome) {
    ASSERT_EQ(outcome.held.size(), 1u);
    const auto target = block::open_target(target_, {});
    engine::write_boot_stages(outcome.held.front().boot, engine::Verify::kAll, *target);
}

void LiveCuts::expect_target_is_one_moment(const test::Duplicated& outcome) {
    expect_target_is_nothing();
    end_as_a_wake_does(outcome);
    const auto target = target_disk();
    const auto then = std::make_shared<DiskBytes>(0);
    then->content = machine_.disk_at_rest();
    const auto disk = layout::describe_disk(MemoryDevice(then), layout::Depth::kUsedExtents);
    ASSERT_FALSE(disk.partitions.front().used.whole);
    for (const Extent e : disk.partitions.front().used.used) {
        const Extent place{BusyMachine::kRoot.begin + e.begin, BusyMachine::kRoot.begin + e.end};
        ASSERT_TRUE(test::part_of(target->content, place) == test::part_of(then->content, place))
            << place.text() << " is not as it was in the pause";
    }
    const auto table = layout::read_partition_table(MemoryDevice(target));
    EXPECT_TRUE(table.primary_valid && table.backup_valid);
    EXPECT_TRUE(outcome.image == machine_.image_at_rest()) << "its memory is not that of the pause";
    EXPECT_FALSE(outcome.image.empty());
    EXPECT_EQ(machine_.seen().resumed, 1);
}

void LiveCuts::expect_target_is_nothing() {
    EXPECT_TRUE(test::is_old_or_marked(target_disk(), before_)) << "it would start as a second source";
}

void LiveCuts::cut_at(const Cut& cut, After after, bool may_be_complete) {
    const test::Duplicated outcome = duplicate({cut}, after);
    const auto text = [](const std::optional<Error>& error) { return error ? error->what() : "done"; };
    SCOPED_TRACE(fmt::format("cut {}{}; {}. source: {}; target: {}", cut.text(),
                             cut.only ? fmt::format(" of type {}", static_cast<int>(*cut.only)) : "",
                             kAfterNames[static_cast<int>(after)], text(outcome.source_error),
                             text(outcome.target_error)));
    expect_source_runs_on();
    EXPECT_TRUE(test::part_of(target_disk()->content, kProfile) == test::part_of(before_, kProfile))
        << "the profile is lost";
    cuts_ += outcome.cuts;
    if (!outcome.is_complete()) {
        EXPECT_TRUE(outcome.cuts != 0 && after != After::kMadeAgain) << "it did not go on";
        EXPECT_TRUE(outcome.source_error) << "it takes the target for complete";
        expect_target_is_nothing();
        return;
    }
    EXPECT_TRUE(outcome.cuts == 0 || after == After::kMadeAgain || may_be_complete)
        << "it would become half a machine";
    expect_target_is_one_moment(outcome);
}

// What is said in a duplication; "late": from the beginning of the pause on.
struct Step {
    bool of_source = false;
    Type type = Type::kHello;
    bool is_late = false;
    std::size_t occurrence = 0;
    bool is_before_open = false;  // a connection that was cut so early is not made again
    bool is_last = false;         // when it has come, all may be there
};

const std::vector<Step> kSteps = {
    {false, Type::kHello, false, 0, true},
    {true, Type::kHello, false, 0, true},
    {false, Type::kOpen, false, 0, true},
    {true, Type::kOpened, false, 0, true},
    {false, Type::kPrepare},
    {true, Type::kPrefill},
    {true, Type::kPrefill, false, 5},
    {false, Type::kRead},
    {true, Type::kData},
    {true, Type::kData, false, 2},
    {false, Type::kCheck},
    {true, Type::kChecked},
    {false, Type::kRound},
    {true, Type::kChanged},
    {false, Type::kMemory},
    {true, Type::kGroup},
    {false, Type::kMemory, false, 3},
    {true, Type::kGroup, false, 3},
    {true, Type::kChanged, true},
    {false, Type::kRead, true},
    {true, Type::kData, true},
    {false, Type::kMemory, true},
    {true, Type::kGroup, true},
    {true, Type::kGroup, true, 1, false, true},
    {false, Type::kDone, true, 0, false, true},
};

TEST_F(LiveCuts, ADuplicationWithoutOneIsOfOneMoment) {
    const test::Duplicated outcome = duplicate({}, After::kMadeAgain);
    EXPECT_FALSE(outcome.source_error);
    ASSERT_FALSE(outcome.target_error) << outcome.target_error->what();
    expect_source_runs_on();
    expect_target_is_one_moment(outcome);
    EXPECT_EQ(machine_.seen().prepared, machine_.seen().resumed + machine_.seen().aborted);
}

// In the short run each step is cut in one way, and has one sequel; in the long one in all, with all.
TEST_F(LiveCuts, AtEachStepOfTheProtocolTheSourceRunsOnAndTheTargetIsAllOrNothing) {
    std::size_t turn = 0, wanted = 0;
    for (const Step& step : kSteps)
        for (const int where : {0, 1, 2, 3})
            for (const After after : kAllAfter) {
                if (step.is_before_open && after == After::kMadeAgain) continue;
                const auto number = turn++;
                if (!test::is_long_campaign() && number % 11 != 0) continue;
                Cut cut{step.of_source, step.occurrence, static_cast<Cut::Where>(where), 500, step.type, {}};
                if (step.is_late) cut.counts = [this] { return machine_.seen().is_at_rest.load(); };
                cut_at(cut, after, step.is_last);
                ASSERT_EQ(cuts_, ++wanted) << "it never came to this step";
                if (HasFailure()) return;
            }
    std::printf("%zu cuts, each of another duplication\n", cuts_);
}

TEST_F(LiveCuts, AnywhereTheSourceRunsOnAndTheTargetIsAllOrNothing) {
    const test::Duplicated whole = duplicate({}, After::kMadeAgain);
    ASSERT_TRUE(whole.is_complete());
    const test::Seeds seeds = test::campaign_seeds(4);
    for (std::uint64_t seed = seeds.first; seed < seeds.end; ++seed) {
        SeededRandom random(seed);
        const bool of_source = random.below(2) == 0;
        const Cut cut{of_source, 4 + random.below(whole.sends[of_source ? 0 : 1]),
                      static_cast<Cut::Where>(random.below(4)), random.below(1000)};
        SCOPED_TRACE(test::how_to_repeat(seed));
        cut_at(cut, kAllAfter[random.below(3)], true);
        if (HasFailure()) return;
    }
}

TEST_F(LiveCuts, InThePauseTheSourceRunsOnAndTheTargetIsAllOrNothing) {
    hold_pause_ = true;
    for (const After after : kAllAfter)
        for (const bool of_source : {true, false}) {
            Cut cut{of_source, 0, Cut::Where::kBefore};
            cut.counts = [this] {
                const auto& seen = machine_.seen();
                return seen.is_at_rest && seen.is_held;
            };
            cut_at(cut, after, false);
            if (HasFailure()) return;
            ASSERT_NE(cuts_, 0u) << "all was cut after the pause";
            cuts_ = 0;
        }
}

// The disk is all there long before the memory.
TEST_F(LiveCuts, ADiskWhoseMemoryDoesNotComeIsNoDisk) {
    Cut cut{true, 0, Cut::Where::kBefore, 500, Type::kGroup};
    cut.counts = [this] { return machine_.seen().is_at_rest.load(); };
    on_group_ = [this](std::uint32_t) {
        if (machine_.seen().is_at_rest) std::this_thread::sleep_for(1500ms);
    };
    cut_at(cut, After::kTargetIsGone, false);
    EXPECT_EQ(cuts_, 1u);
}

// Once the pause has begun it says that it lives, and takes nothing.
class Stubborn final : public wire::Transport {
  public:
    Stubborn(std::unique_ptr<wire::Transport> inner, const test::PausesSeen& seen)
        : inner_(std::move(inner)), seen_(seen) {}
    void send(std::span<const std::byte> bytes, wire::Deadline deadline) override {
        inner_->send(bytes, deadline);
    }
    std::size_t receive(std::span<std::byte> buffer, wire::Deadline deadline) override {
        const std::size_t count = inner_->receive(buffer, deadline);
        while (seen_.is_at_rest && !is_closed_ && std::chrono::steady_clock::now() < deadline)
            std::this_thread::sleep_for(5ms);
        if (seen_.is_at_rest) throw_error(Code::kPeer, "{}: takes nothing", name());
        return count;
    }
    void close() noexcept override {
        is_closed_ = true;
        inner_->close();
    }
    const std::string& name() const override { return inner_->name(); }

  private:
    std::unique_ptr<wire::Transport> inner_;
    const test::PausesSeen& seen_;
    std::atomic<bool> is_closed_ = false;
};

TEST_F(LiveCuts, ThePauseDoesNotWaitForATargetThatTakesNothingAnyMore) {
    const test::Duplicated usual = duplicate({}, After::kMadeAgain);
    ASSERT_TRUE(usual.is_complete());
    write_file_atomic(target_, before_, 0600, Code::kInternal);
    test::Duplication how{target_};
    how.patience = {.silence = 6s,
                    .message = 6s,
                    .beat = 50ms,
                    .farewell = 300ms,
                    .outage = 300ms,
                    .idle = 4s,
                    .pause = 1ms};
    how.target_goes_on = false;
    how.wrap = [this](std::unique_ptr<wire::Transport> end) {
        return std::make_unique<Stubborn>(std::move(end), machine_.seen());
    };
    const test::Duplicated outcome = test::duplicate_live(machine_, how);
    ASSERT_FALSE(outcome.pauses.empty());
    EXPECT_LT(outcome.pauses.back().total(), usual.pauses.back().total() + 2);
    EXPECT_LT(machine_.longest_stall(), 3s) << "it waited for the other end";
    ASSERT_TRUE(outcome.source_error);
    EXPECT_EQ(outcome.source_error->code(), Code::kPeer);
    EXPECT_LT(outcome.source_took, how.patience.idle + how.patience.outage + 5s);
    EXPECT_FALSE(outcome.is_complete());
    expect_source_runs_on();
    expect_target_is_nothing();
}

}  // namespace
}  // namespace dupengine
