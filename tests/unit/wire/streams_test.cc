// A copy over several connections at a time: what one of them suffers costs the copy nothing.

#include <gtest/gtest.h>

#include <atomic>

#include "tests/support/becomes.h"
#include "tests/support/cut_network.h"
#include "tests/support/fake_devices.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/remote_copy.h"
#include "tests/support/wire_rig.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::Cut;
using test::DiskBytes;
using test::MemoryDevice;
using test::WireRig;

constexpr std::uint64_t kSize = 24 * kMiB;

struct Disks {
    std::shared_ptr<DiskBytes> source = test::make_gpt_disk(kSize, {{1, {kMiB, 20 * kMiB}, "root"}}, 1);
    std::shared_ptr<DiskBytes> target = std::make_shared<DiskBytes>(kSize);
    MemoryDevice device{source, 512, "source"};

    void copy_over(Link& link) const {
        test::RemoteCopyOptions options;
        options.copy.tuning.chunk_bytes = 64 * kKiB;
        test::copy_over(link, target, options);
    }
    bool is_copied() const {
        const block::Extent root{kMiB, 20 * kMiB};
        return test::part_of(target->content, root) == test::part_of(source->content, root);
    }
};

std::size_t count_lost(WireRig& rig) {
    std::size_t lost = 0;
    for (const std::string& outcome : rig.outcomes())
        lost += outcome.starts_with("lost");
    return lost;
}

TEST(Streams, ACopyComesOverAllOfThem) {
    const Disks disks;
    WireRig rig(disks.device);
    rig.streams = 3;
    auto link = rig.link();
    ASSERT_TRUE(test::becomes([&] { return rig.connected() == 3; }));
    disks.copy_over(*link);
    EXPECT_TRUE(disks.is_copied());
    link.reset();
    rig.wait_for_answers();
    for (std::size_t i = 0; i < 3; ++i)
        EXPECT_GT(rig.bytes_sent(i), kMiB) << i;
    EXPECT_EQ(rig.connected(), 3u);
}

TEST(Streams, WhatWasAskedOverOneThatBreaksIsAskedOverAnother) {
    const Disks disks;
    WireRig rig(disks.device);
    rig.streams = 2;
    rig.connections = {{}, {.second_cut = 2 * kMiB}};
    const auto link = rig.link();
    ASSERT_TRUE(test::becomes([&] { return rig.connected() == 2; }));
    disks.copy_over(*link);
    EXPECT_TRUE(disks.is_copied());
    EXPECT_EQ(count_lost(rig), 1u);
    EXPECT_EQ(link->times_reconnected(), 0u);
}

TEST(Streams, TheFirstMayBreakAsWell) {
    const Disks disks;
    WireRig rig(disks.device);
    rig.streams = 2;
    rig.connections = {{.second_cut = 2 * kMiB}, {}};
    const auto link = rig.link();
    ASSERT_TRUE(test::becomes([&] { return rig.connected() == 2; }));
    disks.copy_over(*link);
    EXPECT_TRUE(disks.is_copied());
    EXPECT_EQ(link->times_reconnected(), 0u);
}

TEST(Streams, WhereAllBreakTheNextOneGoesOn) {
    const Disks disks;
    WireRig rig(disks.device);
    rig.streams = 2;
    rig.connections = {{.second_cut = 2 * kMiB}, {.second_cut = kMiB}, {.second_cut = 3 * kMiB}};
    const auto link = rig.link();
    disks.copy_over(*link);
    EXPECT_TRUE(disks.is_copied());
}

TEST(Streams, OneThatDoesNotComeIsDoneWithout) {
    const Disks disks;
    WireRig rig(disks.device);
    LinkOptions options;
    options.patience = rig.patience;
    options.streams = 4;
    std::atomic<unsigned> refused{0};
    options.connect_again = [&](Deadline, const std::stop_token&) -> Peer {
        ++refused;
        throw_error(Code::kPeer, "no more than one");
    };
    Link link(rig.connect(), rig.random(), options);
    ASSERT_TRUE(test::becomes([&] { return refused != 0; }));
    disks.copy_over(link);
    EXPECT_TRUE(disks.is_copied());
}

// --- a source's end that calls ---

struct Push {
    Disks disks;
    test::CutNetwork network;
    std::atomic<unsigned> calls{0};
    std::optional<AnsweredAll> answered;
    std::string ended;

    explicit Push(std::vector<Cut> cuts = {}) : network(std::move(cuts)) {}

    static Peer as_peer(std::unique_ptr<Transport> transport) {
        codec::Sha256 key{};
        key.fill(std::byte{1});
        return {std::move(transport), key, "other"};
    }

    // The source's end, until the target's is done.
    std::jthread send(unsigned streams) {
        return std::jthread([this, streams] {
            SeededRandom random(1);
            Offer offer(random);
            offer.add({"disk", disks.device});
            try {
                answered = answer_until_done(
                    [&](const std::stop_token&) {
                        ++calls;
                        return as_peer(network.call());
                    },
                    offer, {.patience = test::short_patience()}, streams);
            } catch (const Error& e) {
                ended = e.what();
            }
        });
    }

    LinkOptions target_options() {
        LinkOptions options;
        options.patience = test::short_patience();
        options.streams = kMostStreams;
        options.connect_again = [this](Deadline, const std::stop_token& stop) {
            while (!stop.stop_requested())
                if (auto transport = network.accept(after(10ms))) return as_peer(std::move(transport));
            throw_error(Code::kPeer, "nobody called");
        };
        return options;
    }
};

TEST(Streams, WhoSendsMakesAsManyAsItWasTold) {
    Push push;
    std::jthread sender = push.send(3);
    {
        SeededRandom random(2);
        Link link(Push::as_peer(push.network.accept(after(10s))), random, push.target_options());
        ASSERT_TRUE(test::becomes([&] { return push.calls == 3; }));
        push.disks.copy_over(link);
    }
    sender.join();
    EXPECT_EQ(push.ended, "");
    EXPECT_TRUE(push.disks.is_copied());
    ASSERT_TRUE(push.answered.has_value());
    EXPECT_TRUE(push.answered->result.verified);
    EXPECT_EQ(push.answered->times_broken, 0u);
    EXPECT_GT(push.answered->bytes_sent, 19 * kMiB);
    EXPECT_EQ(push.calls, 3u);
}

// Over whichever of them it comes.
TEST(Streams, WhatTheTargetGivesUpWithEndsAll) {
    Push push;
    std::jthread sender = push.send(3);
    {
        SeededRandom random(2);
        Link link(Push::as_peer(push.network.accept(after(10s))), random, push.target_options());
        ASSERT_TRUE(test::becomes([&] { return push.calls == 3; }));
        link.abort({Code::kTargetIo, "the target is broken"});
    }
    sender.join();
    EXPECT_EQ(push.ended, "other: the target is broken");
    EXPECT_EQ(push.calls, 3u);
}

TEST(Streams, TheSendersFirstMayBreakToo) {
    Push push({{.of_caller = true, .send = 8, .where = Cut::Where::kInside}});
    std::jthread sender = push.send(2);
    {
        SeededRandom random(2);
        Link link(Push::as_peer(push.network.accept(after(10s))), random, push.target_options());
        ASSERT_TRUE(test::becomes([&] { return push.calls >= 2; }));
        push.disks.copy_over(link);
    }
    sender.join();
    EXPECT_EQ(push.ended, "");
    EXPECT_EQ(push.network.cuts_done(), 1u);
    EXPECT_TRUE(push.disks.is_copied());
    EXPECT_TRUE(push.answered && push.answered->result.verified);
}

TEST(Streams, ASmallMachineMakesOneAndALargeOneFour) {
    EXPECT_EQ(usual_streams(0), 1u);
    EXPECT_EQ(usual_streams(2), 1u);
    EXPECT_EQ(usual_streams(6), 3u);
    EXPECT_EQ(usual_streams(128), 4u);
}

}  // namespace
}  // namespace dupengine::wire
