#include "base/subprocess.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/child_program.h"
#include "base/error.h"
#include "base/fd.h"
#include "tests/support/becomes.h"
#include "tests/support/scratch.h"

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

TEST(RunProgram, AProgramThatClosesItsOutputsAndGoesOnIsStoppedAllTheSame) {
    const std::vector<std::string> lives_on = {"sh", "-c", "exec >&- 2>&-; sleep 100 & wait"};
    const auto begin = std::chrono::steady_clock::now();
    try {
        run_program(lives_on, {.deadline = std::chrono::milliseconds(200)});
        FAIL() << "waited for it";
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("did not finish"), std::string::npos);
    }
    std::stop_source stop;
    const std::jthread asker([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        stop.request_stop();
    });
    RunOptions options;
    options.stop = stop.get_token();
    try {
        run_program(lives_on, options);
        FAIL() << "waited for it";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kInterrupted);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
    EXPECT_EQ(run_program({"sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 3"}).status, 3);
}

TEST(ChildProgram, ThatSaysMoreThanAPipeHoldsWorksOn) {
    const test::ScratchFolder folder;
    const std::string mark = folder.file("mark");
    ChildProgram program(
        {"sh", "-c", "echo first >&2; head -c 1000000 /dev/zero >&2; echo >" + mark + "; sleep 100"});
    EXPECT_TRUE(test::becomes([&] { return std::filesystem::exists(mark); }))
        << "it waits for its output to be read";
    EXPECT_FALSE(program.has_ended());
    EXPECT_EQ(program.complaint().substr(0, 5), "first");
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

// A program that went on by itself would write to what the next run takes up.
TEST(RunProgram, AProgramDiesWithWhoStartedIt) {
    const test::ScratchFolder folder;
    const std::string mark = folder.file("mark");
    const pid_t starter = ::fork();
    ASSERT_GE(starter, 0);
    if (starter == 0) {
        run_program({"sh", "-c", "echo $$ >" + mark + "; sleep 60"});
        ::_exit(0);
    }
    std::string pid;
    ASSERT_TRUE(test::becomes([&] {
        if (std::filesystem::exists(mark)) pid = read_file(mark, Code::kInternal);
        return pid.ends_with('\n');
    }));
    ::kill(starter, SIGKILL);
    ::waitpid(starter, nullptr, 0);
    EXPECT_TRUE(test::becomes([&] {
        std::ifstream file("/proc/" + pid.substr(0, pid.find('\n')) + "/stat");
        std::string stat;
        return !std::getline(file, stat) || stat.find(") Z ") != std::string::npos;
    }));
}

}  // namespace
}  // namespace dupengine
