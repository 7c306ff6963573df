// A target that was given everything, and does not come to its end: the source's end says so in time,
// whatever else lives there.

#include "wire/last_words.h"

#include <gtest/gtest.h>

#include "tests/support/fake_devices.h"
#include "tests/support/theatre.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::Actor;

Message note(std::uint64_t done_bytes) {
    return {Type::kProgress, 0, encode(ProgressNote{"boot structures", done_bytes, 100, 0, 0})};
}

class LastWordsTest : public testing::Test {
  protected:
    static Patience patience() {
        Patience patience;
        patience.word = 60s;
        patience.step = 300s;
        return patience;
    }
    LastWords words_{patience()};
    LastWords::Clock::time_point now_{};
};

TEST_F(LastWordsTest, BeforeAllIsGivenNobodyIsGivenUp) {
    words_.hear(note(1), now_);
    EXPECT_EQ(words_.why_over(now_ + 1h), "");
}

TEST_F(LastWordsTest, WhoSaysNothingIsGivenUpAMinuteAfterTheLastWord) {
    words_.begin(now_);
    words_.hear(note(1), now_ + 50s);
    words_.begin(now_ + 51s);
    EXPECT_EQ(words_.why_over(now_ + 105s), "");
    EXPECT_NE(words_.why_over(now_ + 111s), "");
    EXPECT_EQ(words_.silence(now_ + 60s), 10s);
}

TEST_F(LastWordsTest, WhoSaysTheSameForEverIsGivenUpAndWhoGetsOnIsNot) {
    words_.begin(now_);
    for (int second = 0; second < 290; ++second)
        words_.hear(note(7), now_ + std::chrono::seconds(second));
    EXPECT_EQ(words_.why_over(now_ + 290s), "");
    words_.hear(note(8), now_ + 295s);
    for (int second = 296; second < 594; ++second)
        words_.hear(note(8), now_ + std::chrono::seconds(second));
    EXPECT_EQ(words_.why_over(now_ + 594s), "");
    words_.hear(note(8), now_ + 596s);
    EXPECT_NE(words_.why_over(now_ + 596s), "");
}

// Answers the last round and hears `then`; how it ended and how long that took.
struct End {
    std::string text;
    std::chrono::milliseconds took{};
    std::vector<std::string> shown;
};
End end_of(const std::function<void(Actor&)>& then) {
    const test::MemoryDevice device(8 * kMiB);
    SeededRandom random(1);
    Offer offer(random);
    OfferedDisk disk{"disk", device};
    disk.round = [](std::uint32_t) {
        return std::make_shared<const block::Changes>(block::Changes{.extents = {}, .is_last = true});
    };
    offer.add(disk);
    test::Stage stage;
    const std::jthread actor([&] {
        try {
            Actor target(std::move(stage.theirs));
            target.greet_as_target();
            target.open_the_disk();
            target.ask(Type::kRound, encode(RoundRequest{}));
            then(target);
        } catch (const Error&) {
            // We have ended it.
        }
    });
    AnswerOptions options;
    options.patience = test::kShort;
    options.patience.idle = 1h;
    options.patience.word = 600ms;
    options.patience.step = 1200ms;
    End end;
    options.on_progress = [&](const ProgressNote& note) { end.shown.push_back(note.phase); };
    const auto begin = std::chrono::steady_clock::now();
    try {
        answer({std::move(stage.ours), {}, "asker"}, offer, options);
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kPeer);
        end.text = e.what();
    }
    end.took =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
    return end;
}

TEST(LastWordsOfATarget, ThatOnlyLivesAreNotWaitedForAnHour) {
    const End end = end_of([](Actor& target) { target.live(); });
    EXPECT_NE(end.text.find("has said nothing for 0.6 s"), std::string::npos) << end.text;
    EXPECT_LT(end.took, 30s);
    ASSERT_FALSE(end.shown.empty()) << "nobody knows for whom it waits";
    EXPECT_NE(end.shown.front().find("waiting for the target's word"), std::string::npos);
}

TEST(LastWordsOfATarget, ThatHangsWhileItTellsHowFarItIsAreNotWaitedForAnHour) {
    const End end = end_of([](Actor& target) {
        for (;;) {
            target.connection().send(note(7));
            std::this_thread::sleep_for(50ms);
        }
    });
    EXPECT_NE(end.text.find("has not got on for 1.2 s"), std::string::npos) << end.text;
    EXPECT_LT(end.took, 30s);
}

}  // namespace
}  // namespace dupengine::wire
