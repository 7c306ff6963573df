#include "cli/progress_view.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/fd.h"

namespace dupengine::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

Progress::State state(std::uint64_t done, std::uint64_t total, double seconds, unsigned phase = 1) {
    return {"copy", done, total, seconds, phase};
}

TEST(ProgressFormat, ABarTellsPhasePercentRateAndTimeLeft) {
    EXPECT_EQ(
        progress_bar(state(kGiB, 4 * kGiB, 10), 256.0 * kMiB, {94, Charset::kAscii, false}),
        "copy    ##########..............................   25 %  1 GiB of 4 GiB  256 MiB/s  12 s left");
}

TEST(ProgressFormat, TheBarNeverReachesTheLastColumn) {
    for (unsigned columns = 1; columns < 200; ++columns)
        EXPECT_LT(columns_of(progress_bar(state(kGiB, 4 * kGiB, 10), 256.0 * kMiB,
                                          {columns, Charset::kUtf8, false})),
                  std::max(2u, columns));
}

TEST(ProgressFormat, HundredPercentIsSaidOfNothingButTheEnd) {
    EXPECT_THAT(progress_bar(state(999, 1000, 1), 1, {80, Charset::kAscii, false}), HasSubstr(" 99 %"));
    EXPECT_THAT(progress_bar(state(1000, 1000, 1), 1, {80, Charset::kAscii, false}), HasSubstr("100 %"));
}

TEST(ProgressFormat, WithoutATotalThereIsNoPercentAndNoEnd) {
    const auto line = progress_bar(state(5 * kMiB, 0, 1), 5.0 * kMiB, {80, Charset::kAscii, false});
    EXPECT_THAT(line, HasSubstr("5 MiB  5 MiB/s"));
    EXPECT_THAT(line, Not(HasSubstr("%")));
    EXPECT_THAT(line, Not(HasSubstr("left")));
}

TEST(ProgressFormat, APhaseThatStoppedEarlyDoesNotLookDone) {
    EXPECT_EQ(progress_summary(state(kGiB, kGiB, 4)), "copy: 1 GiB in 4.0 s (256 MiB/s)");
    EXPECT_EQ(progress_summary(state(kMiB, kGiB, 4)), "copy: stopped at 1 MiB of 1 GiB after 4.0 s");
}

TEST(ProgressFormat, JsonHasExactBytesAndNullForWhatIsNotKnown) {
    EXPECT_EQ(progress_json(state(100, 400, 1), 100, false),
              R"({"phase":"copy","done_bytes":100,"total_bytes":400,"rate_bytes_per_second":100,)"
              R"("seconds_left":3.0,"ended":false})");
    const auto unknown = nlohmann::json::parse(progress_json(state(0, 0, 0), 0, false));
    EXPECT_TRUE(unknown["total_bytes"].is_null());
    EXPECT_TRUE(unknown["seconds_left"].is_null());
}

TEST(ProgressFormat, OfSeveralDisksTheOneUnderWayIsNamed) {
    Progress progress;
    progress.set_part(2, 3);
    progress.begin("copy", 10);
    progress.set_part(3, 3);
    EXPECT_THAT(progress_bar(progress.look(), 0, {80, Charset::kAscii, false}), StartsWith("copy 2/3"));
    progress.begin("copy", 10);
    EXPECT_THAT(progress_summary(progress.ended().front()), StartsWith("copy 2/3: stopped"));
    const auto line = nlohmann::json::parse(progress_json(progress.look(), 0, false));
    EXPECT_EQ(line["disk"], 3);
    EXPECT_EQ(line["disks"], 3);
}

TEST(ProgressFormat, TheRateIsThatOfTheLastSecondsNotOfTheWholePhase) {
    RateWindow window;
    for (int i = 0; i <= 100; ++i)
        window.add(state(static_cast<std::uint64_t>(i) * 1000, 0, i * 0.1));  // 10000/s
    EXPECT_NEAR(window.bytes_per_second(), 10000, 1);
    for (int i = 1; i <= 60; ++i)
        window.add(state(100000, 0, 10 + i * 0.1));  // then it hangs for six seconds
    EXPECT_NEAR(window.bytes_per_second(), 0, 1);
}

TEST(ProgressFormat, ANewPhaseStartsANewRate) {
    RateWindow window;
    for (int i = 0; i <= 50; ++i)
        window.add(state(static_cast<std::uint64_t>(i) * 1000, 0, i * 0.1));
    window.add(state(10, 0, 0.1, 2));
    EXPECT_NEAR(window.bytes_per_second(), 100, 1);
}

// What a view writes into a pipe while `work` runs.
std::vector<std::string> shown(ProgressStyle style, const std::function<void(Progress&)>& work) {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    const Fd read_end(fds[0]);
    Fd write_end(fds[1]);
    Progress progress;
    {
        const ProgressView view(progress, style, write_end.get(), std::chrono::milliseconds(5));
        work(progress);
    }
    write_end = Fd();
    std::istringstream text(std::string(as_text(read_to_end(read_end.get(), kMiB, "pipe"))));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);)
        lines.push_back(line);
    return lines;
}

void two_short_phases(Progress& progress) {
    progress.begin("copy", 1000);
    progress.advance(1000);
    progress.begin("verify", 2000);
    progress.advance(2000);
}

TEST(ProgressView, WithoutATerminalEachPhaseIsOneLineHoweverShort) {
    EXPECT_THAT(shown(ProgressStyle::kAuto, two_short_phases),
                ElementsAre(StartsWith("copy: 1000 B in"), StartsWith("verify: 1.95 KiB in")));
}

TEST(ProgressView, JsonIsOneObjectALineAndEndsEachPhaseWithAllItsBytes) {
    const auto lines = shown(ProgressStyle::kJson, two_short_phases);
    ASSERT_EQ(lines.size(), 2u);
    const auto first = nlohmann::json::parse(lines[0]), second = nlohmann::json::parse(lines[1]);
    EXPECT_EQ(first["phase"], "copy");
    EXPECT_EQ(first["done_bytes"], 1000);
    EXPECT_EQ(first["ended"], true);
    EXPECT_EQ(second["phase"], "verify");
    EXPECT_EQ(second["done_bytes"], 2000);
}

TEST(ProgressView, JsonComesAtMostTwiceASecond) {
    const auto begin = std::chrono::steady_clock::now();
    const auto lines = shown(ProgressStyle::kJson, [](Progress& progress) {
        progress.begin("copy", 1000);
        std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(lines.size(), 2u) << "one while it ran, one at its end";
    EXPECT_LE(static_cast<double>(lines.size()), 1 + took.count() / 0.5);
}

TEST(ProgressView, ABarIsDrawnInPlaceAndEndsAsALine) {
    const auto lines = shown(ProgressStyle::kBar, [](Progress& progress) {
        progress.begin("copy", 1000);
        progress.advance(500);
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        progress.advance(500);
    });
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_THAT(lines[0], HasSubstr("\rcopy    "));
    EXPECT_THAT(lines[0], HasSubstr(" 50 %"));
    EXPECT_THAT(lines[0], HasSubstr("\rcopy: 1000 B in"));
}

TEST(ProgressView, NoneShowsNothingAndWorkThatNeverBeganHasNoEnd) {
    EXPECT_THAT(shown(ProgressStyle::kNone, two_short_phases), IsEmpty());
    EXPECT_THAT(shown(ProgressStyle::kAuto, [](Progress&) {}), IsEmpty());
}

TEST(ProgressView, AReaderThatWentAwayStopsNothing) {
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    ::close(fds[0]);
    const Fd write_end(fds[1]);
    const auto before = std::signal(SIGPIPE, SIG_IGN);  // as the command does
    {
        Progress progress;
        const ProgressView view(progress, ProgressStyle::kAuto, write_end.get());
        two_short_phases(progress);
    }
    std::signal(SIGPIPE, before);
}

}  // namespace
}  // namespace dupengine::cli
