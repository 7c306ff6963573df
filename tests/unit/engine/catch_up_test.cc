#include "engine/catch_up.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/random.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::engine {
namespace {

using block::Changes;
using block::Extent;
using block::ExtentSet;
using test::Call;
using test::DiskBytes;
using test::make_gpt_disk;
using test::MemoryDevice;
using test::Operation;

constexpr std::uint64_t kSize = 8 * kMiB;
const Extent kPart{kMiB, 5 * kMiB};
const Extent kProfile{6 * kMiB, 7 * kMiB};

// A source that is written while it is copied: what a round names has changed by then, and not before.
class CatchUp : public testing::Test {
  protected:
    void write(const ExtentSet& extents, bool is_last) { rounds_.push_back({extents, is_last}); }

    CopyReport copy(test::Interceptor interceptor = {}) {
        const MemoryDevice source(from_, 512, "source");
        const CopyPlan plan = make_plan(source, MemoryDevice(to_, 512, "target"), {});
        auto device = std::make_unique<MemoryDevice>(to_, 512, "target");
        device->set_interceptor(std::move(interceptor));
        block::Target target(std::move(device), plan.protected_regions());
        Progress progress;
        ApplyContext context{progress, {}, 1, {}};
        context.source_end = source_end_;
        context.next_round = [this] {
            if (rounds_.empty()) return Changes{};
            const Changes round = rounds_.front();
            rounds_.pop_front();
            for (const Extent e : round.extents)
                random_.fill(std::span(from_->content).subspan(e.begin, e.size()));
            return round;
        };
        return apply_plan(plan, source, target, context);
    }
    bool is_same(Extent e) const {
        return std::equal(from_->content.begin() + static_cast<std::ptrdiff_t>(e.begin),
                          from_->content.begin() + static_cast<std::ptrdiff_t>(e.end),
                          to_->content.begin() + static_cast<std::ptrdiff_t>(e.begin));
    }
    bool is_unfinished() const {
        return layout::describe_disk(MemoryDevice(to_), layout::Depth::kTable).incomplete.has_value();
    }

    std::shared_ptr<DiskBytes> from_ = make_gpt_disk(kSize, {{1, kPart, "root"}}, 1);
    std::shared_ptr<DiskBytes> to_ =
        make_gpt_disk(kSize, {{128, kProfile, "profile", layout::type_guid::kProfile}}, 2, true);
    std::deque<Changes> rounds_;
    std::function<void()> source_end_;
    SeededRandom random_{3};
};

TEST_F(CatchUp, WhatWasWrittenMeanwhileIsThere) {
    write({{2 * kMiB, 4 * kMiB}}, false);
    write({{3 * kMiB, 3 * kMiB + 4096}, {5 * kMiB - 4096, 5 * kMiB}}, false);
    write({{kMiB, kMiB + 8192}}, true);
    const CopyReport report = copy();
    EXPECT_TRUE(is_same(kPart));
    EXPECT_FALSE(is_unfinished());
    EXPECT_EQ(report.round_bytes, (std::vector<std::uint64_t>{2 * kMiB, 8192, 8192}));
    EXPECT_TRUE(rounds_.empty());
}

// What a round names can be read until the next one is asked for, of every disk of the set.
TEST_F(CatchUp, DisksOfASetTakeEachRoundInTurn) {
    const auto make_disk = [] { return make_gpt_disk(kSize, {{1, kPart, "srv"}}, 5); };
    const MemoryDevice root(from_, 512, "root"), srv(make_disk(), 512, "srv");
    const auto to_srv = std::make_shared<DiskBytes>(kSize);
    const std::vector<CopyPlan> plans = {make_plan(root, MemoryDevice(to_), {}),
                                         make_plan(srv, MemoryDevice(to_srv), {})};
    block::Target to_root(std::make_unique<MemoryDevice>(to_), plans[0].protected_regions()),
        to_second(std::make_unique<MemoryDevice>(to_srv), plans[1].protected_regions());
    Progress progress;
    std::string order;
    const auto rounds_of = [&](char name) {
        return [&order, name, number = 0]() mutable {
            order += fmt::format("{}{} ", name, ++number);
            return Changes{{{kMiB, kMiB + 4096}}, number == 3};
        };
    };
    ApplyContext root_context{progress, {}, 1, {}}, srv_context{progress, {}, 1, {}};
    root_context.next_round = rounds_of('r');
    srv_context.next_round = rounds_of('s');
    root_context.source_end = srv_context.source_end = [&] { order += "end "; };
    const std::vector<CopyJob> jobs = {{plans[0], root, to_root, root_context},
                                       {plans[1], srv, to_second, srv_context}};
    const auto reports = apply_plans(jobs);
    EXPECT_EQ(order, "r1 s1 r2 s2 r3 s3 end end ");
    EXPECT_EQ(reports[1].round_bytes, (std::vector<std::uint64_t>{4096, 4096, 4096}));
}

TEST_F(CatchUp, WhatTheSourceWritesWhereTheProfileIsStaysAway) {
    const Bytes profile(to_->content.begin() + kProfile.begin, to_->content.begin() + kProfile.end);
    write({{5 * kMiB, 7 * kMiB + 4096}}, true);
    copy();
    EXPECT_TRUE(std::equal(profile.begin(), profile.end(), to_->content.begin() + kProfile.begin));
    EXPECT_TRUE(is_same({5 * kMiB, kProfile.begin}));
    EXPECT_TRUE(is_same({kProfile.end, kProfile.end + 4096}));
}

TEST_F(CatchUp, OfABareDiskTheFirstBytesAreTheNewOnes) {
    from_ = std::make_shared<DiskBytes>(*from_);
    SeededRandom(9).fill(from_->content);  // no table: all of it is copied
    to_->content = Bytes(kSize);
    write({{0, 4096}, {kSize - 4096, kSize}}, true);
    copy();
    EXPECT_TRUE(is_same({0, kSize})) << "the boot structures are as old as the plan";
}

TEST_F(CatchUp, ATableThatIsWrittenEndsTheCopyUnfinished) {
    for (const Extent table : {Extent{0, 4096}, Extent{kSize - 4096, kSize}}) {
        rounds_.clear();
        write({table}, true);
        EXPECT_THROW(copy(), Error);
        EXPECT_TRUE(is_unfinished());
    }
}

TEST_F(CatchUp, ASourceWithoutALastRoundIsGivenUp) {
    EXPECT_THROW(copy(), Error);
    EXPECT_TRUE(is_unfinished());
}

// Memory that goes with the disk comes until behind the last round.
TEST_F(CatchUp, ADiskOfWhichTheRestDoesNotComeIsUnfinished) {
    write({{2 * kMiB, 4 * kMiB}}, false);
    write({{3 * kMiB, 4 * kMiB}}, true);
    source_end_ = [this] {
        EXPECT_TRUE(rounds_.empty()) << "it had not been read to its end";
        throw_error(Code::kPeer, "the connection was lost");
    };
    EXPECT_THROW(copy(), Error);
    EXPECT_TRUE(is_unfinished()) << "it would start as a second source";
}

TEST_F(CatchUp, AWriteThatDoesNotArriveIsFound) {
    const Extent written{2 * kMiB, 2 * kMiB + 4096};
    write({written}, true);
    const auto lose = [&](std::size_t, const Call& call) {
        if (call.operation == Operation::kReadFromMedium && call.extent == written)
            to_->content[written.begin + 100] ^= std::byte{1};
    };
    EXPECT_THROW(copy(lose), Error);
    EXPECT_TRUE(is_unfinished());
}

}  // namespace
}  // namespace dupengine::engine
