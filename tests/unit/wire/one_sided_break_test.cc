// A break of which one end knows before the other, and what an end is told in the middle of a copy: it goes
// on, or it ends as what it is, and nobody is told that nothing was written when the target is half a copy.

#include <gtest/gtest.h>

#include "tests/support/fake_devices.h"
#include "tests/support/test_pki.h"
#include "tests/support/theatre.h"
#include "wire/callers.h"
#include "wire/remote_reader.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::Actor;
using test::Ending;
using test::ending_of;
using test::kShort;
using test::MemoryDevice;
using test::Play;
using test::Theatre;

constexpr std::uint64_t kSize = 8 * kMiB;

// Until the target's end is done, over the connections of the theatre.
AnsweredAll send_to(Theatre& theatre, const Patience& patience = kShort) {
    const MemoryDevice device(kSize);
    SeededRandom random(1);
    Offer offer(random);
    offer.add({"disk", device});
    AnswerOptions options;
    options.patience = patience;
    return answer_until_done([&](const std::stop_token&) { return theatre.connect(); }, offer, options);
}

Play target(const std::function<void(Actor&)>& play) {
    return [play](Actor& actor) {
        actor.greet_as_target();
        play(actor);
    };
}

const Play kBegins = target([](Actor& actor) {
    actor.open_the_disk();
    actor.ask(Type::kCheck);
    actor.connection().close();
});

Play turns_away(Code code, const std::string& why) {
    return [=](Actor& actor) { actor.turn_away(code, why); };
}

TEST(OneSidedBreak, ASenderThatIsNotMissedYetIsTurnedAwayAndTriesAgain) {
    const Play busy = turns_away(Code::kPeer, "busy with this same machine");
    Token resume{};
    const Play begins = target([&](Actor& actor) {
        resume = decode_opened(actor.open_the_disk().payload).resume;
        actor.connection().close();
    });
    const Play ends = target([&](Actor& actor) {
        actor.open_the_disk(std::byte{5}, resume);
        actor.ask(Type::kDone, encode(Result{"/dev/target", true, 1, 2, 3, 4, 5, {}}));
    });
    // More of them than connections may come to nothing: nothing is wrong with the way.
    Theatre theatre(std::vector{begins, busy, busy, busy, busy, busy, busy, busy, ends});
    EXPECT_TRUE(send_to(theatre).result.verified);
    EXPECT_EQ(theatre.connections, 9u);
}

TEST(OneSidedBreak, WhoIsTurnedAwayForTooLongHearsWhy) {
    Theatre theatre(std::vector{kBegins, turns_away(Code::kPeer, "busy with this same machine")});
    const Ending ending = ending_of([&] { send_to(theatre); });
    EXPECT_EQ(ending.code, Code::kPeer);
    EXPECT_NE(ending.text.find("busy with this same machine"), std::string::npos) << ending.text;
    EXPECT_GT(ending.time, kShort.outage);
}

// The first word a machine hears is another thing.
TEST(OneSidedBreak, WhoIsTurnedAwayBeforeAnythingBeganEndsAtOnce) {
    Theatre busy(turns_away(Code::kPeer, "busy with this same machine"));
    EXPECT_EQ(ending_of([&] { send_to(busy); }).code, Code::kPeer);
    EXPECT_EQ(busy.connections, 1u);
    Theatre refused(turns_away(Code::kRefused, "busy with another"));
    EXPECT_EQ(ending_of([&] { send_to(refused); }).code, Code::kRefused);
    Theatre liar(turns_away(Code::kTargetIo, "a target that nobody has looked at"));
    EXPECT_EQ(ending_of([&] { send_to(liar); }).code, Code::kPeer);
}

// The target's end was killed and started again, and serves somebody else, or nobody.
TEST(OneSidedBreak, ARefusalInTheMiddleDoesNotSayThatNothingWasWritten) {
    Theatre busy(std::vector{kBegins, turns_away(Code::kRefused, "busy with another")});
    Theatre another(std::vector{kBegins, target([](Actor& actor) { actor.open_the_disk(std::byte{6}); })});
    for (Theatre* theatre : {&busy, &another}) {
        const Ending ending = ending_of([&] { send_to(*theatre); });
        EXPECT_EQ(ending.code, Code::kPeer) << ending.text;
        EXPECT_NE(ending.text.find("run both ends again"), std::string::npos) << ending.text;
        EXPECT_EQ(theatre->connections, 2u) << "the answer will be the same";
    }
}

// What it comes to is for the target's end to say, once the disk is open.
TEST(OneSidedBreak, TheTargetsOwnResultStaysWhatItIs) {
    const Play refuses = target([](Actor& actor) {
        actor.open_the_disk();
        actor.ask(Type::kAbort, encode(Failure{Code::kRefused, "only the plan was wanted"}));
    });
    Theatre theatre(refuses);
    EXPECT_EQ(ending_of([&] { send_to(theatre); }).code, Code::kRefused);
}

// `receive` holds its first connection for longer than a call is kept, and knows nothing of its end.
TEST(OneSidedBreak, ACallThatWasNotTakenInTimeIsMadeAgain) {
    test::TestPki pki;
    const auto source = pki.credentials("source");
    Listener listener({"127.0.0.1", 0});
    Callers callers(listener, pki.enrol("target"), {}, {}, 100ms);
    const auto call = [&] {
        auto channel = connect_channel(connect_tcp(listener.address(), after(10s)), *source);
        const codec::Sha256 key = channel->peer().key_sha256;
        return Peer{std::move(channel), key, "target"};
    };
    const auto receive = [&] {
        LinkOptions options;
        options.patience = kShort;
        options.patience.answer = 10s;
        options.connect_again = [&](Deadline deadline, const std::stop_token& stop) -> Peer {
            std::this_thread::sleep_for(700ms);
            auto channel = callers.next(deadline, stop);
            const codec::Sha256 key = channel->peer().key_sha256;
            return {std::move(channel), key, "source"};
        };
        auto channel = callers.next(after(10s), {});
        const codec::Sha256 key = channel->peer().key_sha256;
        SeededRandom random(1);
        Link link({std::move(channel), key, "source"}, random, options);
        link.wait(link.ask(Type::kCheck, {}), Type::kChecked);
        EXPECT_TRUE(link.finish({"/dev/target", true, 1, 2, 3, 4, 5, {}}));
    };
    const std::jthread receiving([&] {
        try {
            receive();
        } catch (const Error& e) {
            ADD_FAILURE() << e.what();
        }
    });
    const MemoryDevice device(kSize);
    SeededRandom random(2);
    Offer offer(random);
    // The first connection breaks when it is asked for the first time.
    std::atomic<Transport*> first = nullptr;
    std::atomic<int> looks{0};
    OfferedDisk disk{"disk", device};
    disk.change = [&]() -> std::string {
        if (looks++ == 1) first.load()->close();
        return "";
    };
    offer.add(disk);
    AnswerOptions options;
    options.patience = kShort;
    const auto answered = answer_until_done(
        [&](const std::stop_token&) {
            Peer peer = call();
            if (first == nullptr) first = peer.transport.get();
            return peer;
        },
        offer, options);
    EXPECT_TRUE(answered.result.verified);
    EXPECT_EQ(answered.times_broken, 1u);
}

}  // namespace
}  // namespace dupengine::wire
