// Several disks that belong together: all of them are copied, or none of them passes for a disk.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>

#include "engine/apply.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using test::Call;
using test::DiskBytes;
using test::MemoryDevice;
using test::Operation;

constexpr std::uint64_t kSize = kMiB;
const Extent kPart{384 * kKiB, 512 * kKiB};
constexpr unsigned kOld = 1, kNew = 2;  // numbers of the one partition, before and after

// Called with the number of the disk, and that of the operation over all disks.
using Interceptor = std::function<void(std::size_t disk, std::size_t number, const Call& call)>;

struct Machine {
    std::array<std::shared_ptr<DiskBytes>, 2> from, to;

    Machine() {
        for (std::size_t i = 0; i < 2; ++i) {
            from[i] = test::make_gpt_disk(kSize, {{kNew, kPart, "new"}}, 10 + i);
            to[i] = test::make_gpt_disk(kSize, {{kOld, kPart, "old"}}, 20 + i, true);
        }
    }

    std::vector<CopyReport> copy(const Interceptor& interceptor = {},
                                 const std::function<std::string(std::size_t)>& change = {}) const {
        std::deque<MemoryDevice> sources;
        std::vector<CopyPlan> plans;
        for (std::size_t i = 0; i < 2; ++i) {
            sources.emplace_back(from[i]);
            plans.push_back(make_plan(sources[i], MemoryDevice(to[i]), {}));
        }
        return apply(sources, plans, interceptor, change);
    }

    std::vector<CopyReport> apply(const std::deque<MemoryDevice>& sources, const std::vector<CopyPlan>& plans,
                                  const Interceptor& interceptor,
                                  const std::function<std::string(std::size_t)>& change = {}) const {
        std::atomic<std::size_t> operations = 0;
        std::vector<std::unique_ptr<block::Target>> targets;
        std::vector<ApplyContext> contexts;
        Progress progress;
        for (std::size_t i = 0; i < 2; ++i) {
            auto device = std::make_unique<MemoryDevice>(to[i]);
            if (interceptor)
                device->set_interceptor([i, &operations, &interceptor](std::size_t, const Call& call) {
                    interceptor(i, operations++, call);
                });
            targets.push_back(std::make_unique<block::Target>(std::move(device), block::ProtectedRegions()));
            contexts.push_back({progress, {}, 1, {}, {}});
            if (change) contexts.back().source_change = [i, &change] { return change(i); };
        }
        std::vector<CopyJob> jobs;
        for (std::size_t i = 0; i < 2; ++i)
            jobs.push_back({plans[i], sources[i], *targets[i], contexts[i]});
        return apply_plans(jobs);
    }

    bool has_data(std::size_t disk) const { return part(from[disk]) == part(to[disk]); }
    static Bytes part(const std::shared_ptr<DiskBytes>& disk) {
        return {disk->content.begin() + kPart.begin, disk->content.begin() + kPart.end};
    }
    // The partition that whoever boots now would find; 0 for none.
    unsigned number_found(std::size_t disk) const {
        const auto seen = layout::describe_disk(MemoryDevice(to[disk]), layout::Depth::kTable);
        return seen.table.partitions.empty() ? 0 : seen.table.partitions.front().number;
    }
    bool is_marked(std::size_t disk) const {
        return number_found(disk) == 0 &&
               layout::describe_disk(MemoryDevice(to[disk]), layout::Depth::kTable).incomplete.has_value();
    }
};

[[noreturn]] void power_cut() {
    throw_error(Code::kTargetIo, "power cut");
}

TEST(ApplySet, EveryDiskIsACopyOfItsSource) {
    const Machine machine;
    const auto reports = machine.copy();
    ASSERT_EQ(reports.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_TRUE(machine.has_data(i));
        EXPECT_EQ(machine.number_found(i), kNew);
        EXPECT_GE(reports[i].bytes_verified, kPart.size());
    }
}

// The promise of a set: whatever stands after a cut, no disk passes for new while another one lacks its data,
// and none passes for old when data of any was overwritten.
TEST(ApplySet, ACutAtAnyOperationOfAnyDiskLeavesNoHalfMachineAndTheNextRunCompletes) {
    const Machine original;
    std::atomic<std::size_t> operations = 0;
    Machine().copy([&](std::size_t, std::size_t, const Call&) { ++operations; });
    ASSERT_GT(operations, 30u);
    for (std::size_t cut = 0; cut < operations; ++cut) {
        const Machine machine;
        EXPECT_THROW(machine.copy([&](std::size_t, std::size_t number, const Call&) {
            if (number >= cut) power_cut();
        }),
                     Error)
            << "cut at operation " << cut;
        bool any_new = false, any_old = false, any_touched = false, all_copied = true;
        for (std::size_t i = 0; i < 2; ++i) {
            any_new |= machine.number_found(i) == kNew;
            any_old |= machine.number_found(i) == kOld;
            any_touched |= Machine::part(machine.to[i]) != Machine::part(original.to[i]);
            all_copied &= machine.has_data(i);
        }
        EXPECT_TRUE(!any_new || all_copied) << "half of a machine boots after a cut at operation " << cut;
        EXPECT_FALSE(any_old && any_touched) << "an old disk beside a new one, cut at operation " << cut;
        machine.copy();
        EXPECT_TRUE(machine.has_data(0) && machine.has_data(1)) << "after a cut at operation " << cut;
        EXPECT_EQ(machine.number_found(0) + machine.number_found(1), 2 * kNew);
    }
}

TEST(ApplySet, AnErrorOnTheSecondDiskLeavesTheFirstMarked) {
    const Machine machine;
    EXPECT_THROW(machine.copy([](std::size_t disk, std::size_t, const Call& call) {
        if (disk == 1 && call.operation == Operation::kWrite && call.extent.touches(kPart)) power_cut();
    }),
                 Error);
    EXPECT_TRUE(machine.has_data(0)) << "the test shows nothing: the first disk was not copied";
    EXPECT_TRUE(machine.is_marked(0));
    EXPECT_TRUE(machine.is_marked(1));
}

// The first disk is the last to become one; when that fails, the second has its table already.
TEST(ApplySet, ADiskThatIsCompleteIsMarkedAgainIfTheLastOneFails) {
    const Machine machine;
    bool second_was_complete = false;
    int zeroth_sectors = 0;
    EXPECT_THROW(machine.copy([&](std::size_t disk, std::size_t, const Call& call) {
        // Once for the mark, once for the table.
        if (disk != 0 || call.operation != Operation::kWrite || call.extent != Extent{0, 512}) return;
        if (++zeroth_sectors != 2) return;
        second_was_complete = machine.number_found(1) == kNew;
        power_cut();
    }),
                 Error);
    EXPECT_TRUE(second_was_complete) << "the test shows nothing";
    EXPECT_TRUE(machine.is_marked(0));
    EXPECT_TRUE(machine.is_marked(1));
}

TEST(ApplySet, NoDiskIsWrittenIfAnyOfThemChangedSinceThePlan) {
    const Machine machine;
    std::deque<MemoryDevice> sources;
    std::vector<CopyPlan> plans;
    for (std::size_t i = 0; i < 2; ++i) {
        sources.emplace_back(machine.from[i]);
        plans.push_back(make_plan(sources[i], MemoryDevice(machine.to[i]), {}));
    }
    machine.to[1]->content[512 + 60] ^= std::byte{1};  // somebody repartitioned it
    const Bytes first = machine.to[0]->content, second = machine.to[1]->content;
    EXPECT_THROW(machine.apply(sources, plans, {}), Error);
    EXPECT_EQ(machine.to[0]->content, first);
    EXPECT_EQ(machine.to[1]->content, second);
}

TEST(ApplySet, ASourceThatChangesWhileAnotherIsCopiedSpoilsTheSet) {
    const Machine machine;
    bool second_is_copied = false;
    try {
        machine.copy(
            [&](std::size_t disk, std::size_t, const Call& call) {
                if (disk == 1 && call.operation == Operation::kWrite && call.extent.touches(kPart))
                    second_is_copied = true;
            },
            [&](std::size_t disk) { return disk == 0 && second_is_copied ? "was written" : ""; });
        FAIL() << "called a copy";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kIntegrity);
    }
    EXPECT_TRUE(machine.is_marked(0));
    EXPECT_TRUE(machine.is_marked(1));
}

}  // namespace
}  // namespace dupengine::engine
