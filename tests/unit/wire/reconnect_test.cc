// Connections that break again and again, that break for want of memory, and disks that take long: a copy
// goes on where it can, and nobody is kept busy for ever.

#include <gtest/gtest.h>

#include <new>

#include "tests/support/cut_network.h"
#include "tests/support/fake_devices.h"
#include "tests/support/theatre.h"
#include "tests/support/wire_rig.h"
#include "wire/remote_reader.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::a_disk;
using test::Actor;
using test::Ending;
using test::ending_of;
using test::kShort;
using test::MemoryDevice;
using test::Play;
using test::Theatre;

constexpr std::uint64_t kSize = 8 * kMiB;

AnsweredAll send_over(const std::function<Peer()>& call, const Patience& patience = kShort) {
    const MemoryDevice device(kSize);
    SeededRandom random(1);
    Offer offer(random);
    offer.add({"disk", device});
    AnswerOptions options;
    options.patience = patience;
    return answer_until_done([&](const std::stop_token&) { return call(); }, offer, options);
}

AnsweredAll send_to(Theatre& theatre, const Patience& patience = kShort) {
    return send_over([&] { return theatre.connect(); }, patience);
}

// --- the source's end ---

TEST(Reconnect, ATargetThatAsksOnceAndGoesIsNotCalledForEver) {
    Theatre theatre([](Actor& target) {
        target.greet_as_target();
        target.open_the_disk();
        target.connection().send({Type::kCheck, 1, {}});
        target.connection().close();
    });
    EXPECT_EQ(ending_of([&] { send_to(theatre); }).code, Code::kPeer);
    EXPECT_LE(theatre.connections, kShort.fruitless + 1);
}

// Another connection is not tried, and the reason is told.
TEST(Reconnect, ALieIsNoLostConnectionWhenTheLiarGoesAway) {
    // What is cut is our goodbye: the third message that we send.
    test::CutNetwork network({{.of_caller = true, .send = 2, .where = test::Cut::Where::kBefore}});
    const std::jthread liar([&] {
        try {
            Actor target(network.accept(after(5s)));
            target.greet_as_target();
            target.open_the_disk();
            const std::vector<block::Extent> wide = {{0, 1ULL << 60}};
            target.ask(Type::kDigest, encode_extents(wide));
        } catch (const Error&) {
            // We have ended it.
        }
    });
    const Ending ending = ending_of([&] { send_over([&] { return Peer{network.call(), {}, "liar"}; }); });
    EXPECT_EQ(ending.code, Code::kPeer);
    EXPECT_NE(ending.text.find("behind the end"), std::string::npos) << ending.text;
}

// A person reads the plan: nothing is asked, and the connection breaks now and then.
TEST(Reconnect, AQuietConnectionThatLivedForLongIsReplacedEachTime) {
    const auto quiet = [](Actor& target) {
        target.greet_as_target();
        target.open_the_disk();
        std::this_thread::sleep_for(500ms);
        target.connection().close();
    };
    const auto ends = [](Actor& target) {
        target.greet_as_target();
        target.open_the_disk();
        target.ask(Type::kDone, encode(Result{"/dev/target", true, 1, 2, 3, 4, 5, {}}));
    };
    Patience patience = kShort;
    patience.silence = patience.message = patience.idle = 3s;
    patience.outage = 300ms;
    Theatre theatre(std::vector<Play>{quiet, quiet, quiet, ends});
    EXPECT_TRUE(send_to(theatre, patience).result.verified);
}

// --- the target's end ---

// Each connection costs a handshake of both machines.
TEST(Reconnect, ASourceThatBreaksWhatIsNotUsedIsNotCalledAtFullSpeed) {
    const Play opens = [](Actor& source) {
        source.open_as_source(a_disk());
        source.connection().close();
    };
    Theatre theatre(opens);
    LinkOptions options = theatre.options(true);
    options.patience.pause = 50ms;
    SeededRandom random(1);
    const Link link(theatre.connect(), random, options);
    std::this_thread::sleep_for(1500ms);
    EXPECT_GE(theatre.connections, 2u);
    EXPECT_LE(theatre.connections, 8u);
}

TEST(Reconnect, ForWantOfMemoryOrThreadsItIsTriedAgain) {
    const Play breaks = [](Actor& source) {
        source.open_as_source(a_disk());
        source.plan();
        source.next();
        source.connection().close();
    };
    const Play answers = [](Actor& source) {
        source.open_as_source(a_disk());
        source.answer(source.next(), Type::kChecked, {});
        source.live();
    };
    Theatre theatre(std::vector{breaks, answers});
    LinkOptions options = theatre.options();
    options.connect_again = [&, times = 0](Deadline, const std::stop_token&) mutable {
        if (times++ < 2) throw std::bad_alloc();
        return theatre.connect();
    };
    SeededRandom random(1);
    Link link(theatre.connect(), random, options);
    const RemoteReader reader(link);
    EXPECT_EQ(reader.change(), "");
}

// Whom it is told to is gone then.
TEST(Reconnect, AfterAStopNothingMoreIsToldOfTheDisk) {
    Theatre theatre([&](Actor& source) {
        source.open_as_source(a_disk());
        const Message asked = source.next();
        for (int i = 0; i < 500; ++i) {
            source.answer(asked, Type::kKnown, encode(Known{{0, 512}, "ext4"}));
            std::this_thread::sleep_for(1ms);
        }
    });
    std::stop_source stop;
    LinkOptions options = theatre.options();
    options.stop = stop.get_token();
    SeededRandom random(1);
    Link link(theatre.connect(), random, options);
    std::atomic<int> told{0};
    const std::jthread person([&] {
        while (told == 0)
            std::this_thread::sleep_for(1ms);
        stop.request_stop();
    });
    EXPECT_THROW(link.prepare([&](const Message&) { ++told; }), Error);
    const int until_then = told;
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(told, until_then);
}

TEST(Reconnect, ASourceThatTellsForEverIsGivenUp) {
    const auto tells = [](std::chrono::milliseconds pause) {
        return [pause](Actor& source) {
            source.open_as_source(a_disk());
            for (const Message asked = source.next();; std::this_thread::sleep_for(pause))
                source.answer(asked, Type::kKnown, encode(Known{{0, 512}, "ext4"}));
        };
    };
    Theatre fast(tells(0ms)), slow(tells(50ms));
    for (Theatre* theatre : {&fast, &slow}) {
        LinkOptions options = theatre->options(true);
        options.patience.prepare = theatre == &fast ? 60s : 1s;
        const Ending ending = ending_of([&] {
            SeededRandom random(1);
            Link link(theatre->connect(), random, options);
            const RemoteReader reader(link);
        });
        EXPECT_EQ(ending.code, Code::kPeer) << ending.text;
    }
}

// Its description alone takes longer than any answer may.
TEST(Reconnect, ADiskThatIsDescribedForLongIsCopiedAllTheSame) {
    MemoryDevice device(kSize);
    std::atomic<bool> is_first{true};
    device.set_interceptor([&](std::size_t, const test::Call&) {
        if (is_first.exchange(false)) std::this_thread::sleep_for(2s);
    });
    test::WireRig rig(device);
    rig.patience = kShort;
    const auto link = rig.link(true);
    const RemoteReader reader(*link);
    EXPECT_EQ(reader.change(), "");
    EXPECT_EQ(link->times_reconnected(), 0u);
}

// What the other end calls it is no result of this one.
TEST(Reconnect, TheWordsOfASourceThatStopsAreNotOurs) {
    for (const Code code : {Code::kInterrupted, Code::kTargetIo}) {
        Theatre theatre([code](Actor& source) {
            source.connection().greet(Role::kAnswers, "0");
            source.next();
            source.turn_away(code, "so it says");
        });
        const Ending ending = ending_of([&] {
            SeededRandom random(1);
            const Link link(theatre.connect(), random, theatre.options());
        });
        EXPECT_EQ(ending.code, Code::kPeer) << code_name(code);
    }
}

}  // namespace
}  // namespace dupengine::wire
