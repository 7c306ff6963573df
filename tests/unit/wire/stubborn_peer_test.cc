// A peer that keeps to the form and gets nowhere: that lives and does not answer, that breaks one connection
// after the other, that calls its failure by another name. Nobody waits for it for ever, nobody is told
// something that is not so, and who asks us to stop is heard.

#include <gtest/gtest.h>

#include <condition_variable>

#include "engine/apply.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/theatre.h"
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

void read_a_piece(const RemoteReader& reader) {
    Bytes buffer(kPieceBytes);
    reader.read(4 * kMiB, buffer);
}

TEST(StubbornSource, ThatLivesAndDoesNotAnswerIsGivenUp) {
    Theatre theatre([](Actor& actor) {
        actor.open_as_source(a_disk());
        actor.plan();
        actor.live();
    });
    const Ending ending = ending_of([&] {
        SeededRandom random(1);
        Link link(theatre.connect(), random, theatre.options(true));
        const RemoteReader reader(link);
        read_a_piece(reader);
    });
    EXPECT_EQ(ending.code, Code::kPeer) << ending.text;
    EXPECT_NE(ending.text.find("has not answered"), std::string::npos) << ending.text;
}

TEST(StubbornSource, ThatPlansForEverDoesNotKeepUsFromStopping) {
    Theatre theatre([](Actor& actor) {
        actor.open_as_source(a_disk());
        actor.live();
    });
    std::stop_source stop;
    LinkOptions options = theatre.options();
    options.stop = stop.get_token();
    options.patience.answer = 1h;
    const std::jthread person([&] {
        std::this_thread::sleep_for(300ms);
        stop.request_stop();
    });
    const Ending ending = ending_of([&] {
        SeededRandom random(1);
        Link link(theatre.connect(), random, options);
        const RemoteReader reader(link);
    });
    EXPECT_EQ(ending.code, Code::kInterrupted) << ending.text;
    EXPECT_LT(ending.time, 30s);
}

TEST(StubbornSource, ThatNeverOpensItsDiskDoesNotKeepUsFromStopping) {
    Theatre theatre([](Actor& actor) {
        actor.connection().greet(Role::kAnswers, "0");
        actor.live();
    });
    std::stop_source stop;
    LinkOptions options = theatre.options();
    options.stop = stop.get_token();
    options.patience.message = 1h;
    const std::jthread person([&] {
        std::this_thread::sleep_for(300ms);
        stop.request_stop();
    });
    SeededRandom random(1);
    const Ending ending = ending_of([&] { const Link link(theatre.connect(), random, options); });
    EXPECT_EQ(ending.code, Code::kInterrupted) << ending.text;
}

// A way that lets small packets through and no large ones: each connection opens, and nothing comes over it.
TEST(StubbornSource, ThatBreaksEveryConnectionIsNotTriedForEver) {
    const Play breaks = [](Actor& actor) {
        actor.open_as_source(a_disk());
        actor.next();
        actor.connection().close();
    };
    const Play plans = [](Actor& actor) {
        actor.open_as_source(a_disk());
        actor.plan();
        actor.next();
        actor.connection().close();
    };
    Theatre theatre(std::vector{plans, breaks});
    const Ending ending = ending_of([&] {
        SeededRandom random(1);
        Link link(theatre.connect(), random, theatre.options(true));
        const RemoteReader reader(link);
        read_a_piece(reader);
    });
    EXPECT_EQ(ending.code, Code::kPeer) << ending.text;
    EXPECT_LE(theatre.connections, kShort.fruitless + 1);
}

// Whatever the other end calls it: it is no failure of our target, and nothing was refused that began.
TEST(StubbornSource, ItsFailuresAreNeverTakenForOurs) {
    for (const Code code : {Code::kTargetIo, Code::kRefused, Code::kInterrupted, Code::kPeer}) {
        Theatre theatre([code](Actor& actor) {
            actor.open_as_source(a_disk());
            actor.plan();
            actor.answer(actor.next(), Type::kFailed, encode(Failure{code, "so it says"}));
            actor.live();
        });
        const Ending ending = ending_of([&] {
            SeededRandom random(1);
            Link link(theatre.connect(), random, theatre.options());
            const RemoteReader reader(link);
            read_a_piece(reader);
        });
        EXPECT_EQ(ending.code, Code::kPeer) << code_name(code);
    }
}

TEST(StubbornSource, ARefusalAfterTheFirstConnectionDoesNotSayThatNothingWasWritten) {
    std::atomic<bool> is_first{true};
    Theatre theatre([&](Actor& actor) {
        if (!is_first.exchange(false)) {
            actor.connection().greet(Role::kAnswers, "0");
            actor.next();
            actor.connection().send({Type::kAbort, 0, encode(Failure{Code::kRefused, "another offer"})});
            return actor.live();
        }
        actor.open_as_source(a_disk());
        actor.plan();
        actor.next();
        actor.connection().close();
    });
    const Ending ending = ending_of([&] {
        SeededRandom random(1);
        Link link(theatre.connect(), random, theatre.options(true));
        const RemoteReader reader(link);
        read_a_piece(reader);
    });
    EXPECT_EQ(ending.code, Code::kPeer) << ending.text;
    EXPECT_NE(ending.text.find("another offer"), std::string::npos) << ending.text;
}

// Comes back as `second`, after the first connection broke in the middle of a question.
Ending comes_back_as(const Opened& first, const Opened& second) {
    std::atomic<bool> is_first{true};
    Theatre theatre([&](Actor& actor) {
        const bool begins = is_first.exchange(false);
        actor.open_as_source(begins ? first : second);
        if (begins) {
            actor.plan();
            actor.next();
            actor.connection().close();
        } else {
            actor.answer(actor.next(), Type::kFailed, encode(Failure{Code::kSourceIo, "went on"}));
            actor.live();
        }
    });
    return ending_of([&] {
        SeededRandom random(1);
        Link link(theatre.connect(), random, theatre.options(true));
        const RemoteReader reader(link);
        read_a_piece(reader);
    });
}

TEST(StubbornSource, ThatComesBackAsAnotherDiskIsNotGoneOnWith) {
    Opened first = a_disk(), smaller = a_disk(), written = a_disk();
    first.state.fill(std::byte{2}), smaller.state = first.state, written.state.fill(std::byte{3});
    smaller.geometry.size_bytes = kMiB;
    EXPECT_EQ(comes_back_as(first, smaller).code, Code::kIntegrity);
    EXPECT_EQ(comes_back_as(first, written).code, Code::kIntegrity);
    EXPECT_EQ(comes_back_as(first, a_disk(std::byte{9})).code, Code::kIntegrity) << "another transfer";
    EXPECT_EQ(comes_back_as(first, first).code, Code::kSourceIo);
    EXPECT_EQ(comes_back_as(a_disk(), first).code, Code::kSourceIo)
        << "a file that is too young to tell its state is none that changed";
    EXPECT_THROW(decode_opened(encode(a_disk(std::byte{0}))), Error) << "a token that is none";
}

// The bytes of a copy are never those of a chunk that was not read.
TEST(StubbornSource, AReadThatFailsAsIfTheTargetHadIsNoCopy) {
    const auto bytes = test::make_gpt_disk(kSize, {{1, {kMiB, 6 * kMiB}, "root"}}, 1);
    const auto to = std::make_shared<test::DiskBytes>(kSize);
    MemoryDevice source(bytes, 512, "source");
    const engine::CopyPlan plan = engine::make_plan(source, MemoryDevice(to, 512, "target"), {});
    source.set_interceptor([](std::size_t, const test::Call& call) {
        if (call.extent.begin >= 2 * kMiB && call.extent.end <= 6 * kMiB)
            throw_error(Code::kTargetIo, "a failure by another name");
    });
    block::Target target(std::make_unique<MemoryDevice>(to, 512, "target"), plan.protected_regions());
    Progress progress;
    engine::ApplyContext context{progress, {}, 1, {}};
    const Ending ending = ending_of([&] { engine::apply_plan(plan, source, target, context); });
    EXPECT_TRUE(layout::find_mark(MemoryDevice(to)).has_value()) << ending.text;
}

// --- the source's end ---

// What becomes of our answering when the target's end plays.
Answered answer_to(const Play& play, const AnswerOptions& options) {
    const MemoryDevice device(kSize);
    SeededRandom random(1);
    Offer offer(random);
    offer.add({"disk", device});
    test::Stage stage;
    const std::jthread actor([&] {
        try {
            Actor target(std::move(stage.theirs));
            target.greet_as_target();
            play(target);
        } catch (const Error&) {
            // We have ended it.
        }
    });
    return answer({std::move(stage.ours), {}, "asker"}, offer, options);
}

TEST(StubbornTarget, ThatOnlyLivesIsGoneInTime) {
    AnswerOptions options;
    options.patience = kShort;
    const Answered never_opens = answer_to([](Actor& target) { target.live(); }, options);
    EXPECT_FALSE(never_opens.result || never_opens.was_open);
    const Answered never_asks = answer_to(
        [](Actor& target) {
            target.open_the_disk();
            target.live();
        },
        options);
    EXPECT_TRUE(never_asks.was_open);
    EXPECT_FALSE(never_asks.result || never_asks.got_on);
}

TEST(StubbornTarget, ThatOnlyLivesDoesNotKeepUsFromStopping) {
    std::stop_source stop;
    AnswerOptions options;
    options.patience = kShort;
    options.patience.idle = options.patience.message = 1h;
    options.stop = stop.get_token();
    const std::jthread person([&] {
        std::this_thread::sleep_for(300ms);
        stop.request_stop();
    });
    const Ending ending = ending_of([&] {
        answer_to(
            [](Actor& target) {
                target.open_the_disk();
                // Hears that we stop, and stays.
                for (;;)
                    target.connection().receive(after(10s));
            },
            options);
    });
    EXPECT_EQ(ending.code, Code::kInterrupted);
    EXPECT_LT(ending.time, 30s);
}

// Otherwise it would be asked the same over the next connection, and the next.
TEST(StubbornTarget, ThatAsksWhatNobodyAsksIsNotALostConnection) {
    AnswerOptions options;
    options.patience = kShort;
    const Ending ending = ending_of([&] {
        answer_to(
            [](Actor& target) {
                target.open_the_disk();
                const std::vector<block::Extent> wide = {{0, 1ULL << 60}};
                target.connection().send({Type::kDigest, 1, encode_extents(wide)});
                target.live();
            },
            options);
    });
    EXPECT_EQ(ending.code, Code::kPeer);
    EXPECT_EQ(ending.text.find("closed"), std::string::npos) << "the reason is lost: " << ending.text;
}

// The target is half written: nobody may say that nothing was.
TEST(StubbornTarget, ThatBeginsAnotherCopyInTheMiddleOfOneIsNoRefusal) {
    AnswerOptions options;
    options.patience = kShort;
    options.only_transfer.emplace();
    options.only_transfer->fill(std::byte{5});
    const auto open_as = [](std::byte transfer) {
        return [transfer](Actor& target) { target.open_the_disk(transfer); };
    };
    EXPECT_TRUE(answer_to(open_as(std::byte{5}), options).was_open);
    const Ending ending = ending_of([&] { answer_to(open_as(std::byte{6}), options); });
    EXPECT_EQ(ending.code, Code::kPeer);
    EXPECT_NE(ending.text.find("run both ends again"), std::string::npos) << ending.text;
}

}  // namespace
}  // namespace dupengine::wire
