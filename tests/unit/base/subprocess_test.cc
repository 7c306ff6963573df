#include "base/subprocess.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"

namespace dupengine {
namespace {

TEST(RunProgram, GivesBackStatusAndBothStreams) {
    const RunResult result = run_program({"sh", "-c", "cat; echo bad >&2; exit 3"}, {.input = "hello"});
    EXPECT_EQ(result.status, 3);
    EXPECT_EQ(result.out, "hello");
    EXPECT_EQ(result.complaint(), "bad");
}

TEST(RunProgram, AProgramThatHangsIsStoppedWithItsChildren) {
    try {
        run_program({"sh", "-c", "sleep 100 & wait"}, {.deadline = std::chrono::milliseconds(200)});
        FAIL() << "waited for it";
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("did not finish"), std::string::npos);
    }
}

TEST(RunProgram, AProgramIsKilledWithItsChildrenWhenAskedToStop) {
    std::stop_source stop;
    RunOptions options;
    options.stop = stop.get_token();
    const std::jthread asker([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        stop.request_stop();
    });
    try {
        run_program({"sh", "-c", "sleep 100 & wait"}, options);
        FAIL() << "waited for it";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kInterrupted);
    }
}

TEST(RunProgram, AMissingProgramIsSaidToBeMissing) {
    EXPECT_FALSE(program_exists("no-such-program-here"));
    try {
        run_program({"no-such-program-here"});
        FAIL();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUnsupported);
    }
}

TEST(RunProgram, LargeInputAndOutputDoNotBlockEachOther) {
    const std::string large(3 << 20, 'x');
    EXPECT_EQ(run_program({"cat"}, {.input = large}).out, large);
    EXPECT_EQ(run_program({"true"}, {.input = large}).status, 0);  // does not read at all
}

}  // namespace
}  // namespace dupengine
