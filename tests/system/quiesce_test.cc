// dupengine quiesce with real participants: scripts, and shells that wait.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class QuiesceCommand : public testing::Test {
  protected:
    QuiesceCommand() {
        ::chmod(scratch_.path().c_str(), 0755);
        for (const std::string& folder : {hooks_, sockets_}) {
            fs::create_directory(folder);
            ::chmod(folder.c_str(), 0755);
        }
    }
    void add_hook(const std::string& name, const std::string& script) {
        std::ofstream(hooks_ + "/" + name) << "#!/bin/sh\n" << script << "\n";
        ::chmod((hooks_ + "/" + name).c_str(), 0755);
    }
    RunResult quiesce(std::vector<std::string> arguments, const std::vector<std::string>& command = {}) {
        arguments.insert(arguments.begin(), "quiesce");
        arguments.insert(arguments.end(), {"--hooks", hooks_, "--sockets", sockets_});
        if (!command.empty()) arguments.emplace_back("--");
        arguments.insert(arguments.end(), command.begin(), command.end());
        return test::run_dupengine(arguments);
    }
    // In a shell: $D is the command, $1 the sockets, $2 the hooks, $LOG a file; `waiter NAME...` starts a
    // participant that logs, $W is its process.
    RunResult shell(const std::string& script) {
        const std::string functions = R"(
            export D=$0 LOG=$3; sockets=$1 hooks=$2
            waiter() {
                name=$1; shift
                "$@" "$D" quiesce wait --name "$name" --sockets "$sockets" --prepare "echo $name prepare >>$LOG" \
                    --resume-source "echo $name resume-source >>$LOG" --abort "echo $name abort >>$LOG" >$LOG.out &
                W=$!
                for i in $(seq 2400); do
                    if grep -q waiting $LOG.out; then return; fi
                    sleep 0.05
                done
                echo "no waiter" >&2; exit 99
            }
            run() { "$D" quiesce run --sockets "$sockets" --hooks "$hooks" "$@"; }
        )";
        return run_program(
            {"bash", "-c", functions + script, test::command(), sockets_, hooks_, scratch_.file("log")});
    }
    std::vector<std::string> log() {
        std::ifstream file(scratch_.file("log"));
        std::vector<std::string> lines;
        for (std::string line; std::getline(file, line);)
            lines.push_back(line);
        return lines;
    }

    test::ScratchFolder scratch_;
    const std::string hooks_ = scratch_.file("hooks"), sockets_ = scratch_.file("sockets");
};

TEST_F(QuiesceCommand, RunsACommandWhileAllAreAtRest) {
    add_hook("10-first", "echo 10-first $1 >>" + scratch_.file("log"));
    const RunResult result = shell("waiter 50-db; run -- sh -c 'echo work >>$LOG'; kill $W; wait $W");
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(log(), ElementsAre("10-first prepare", "50-db prepare", "work", "50-db resume-source",
                                   "10-first resume-source"));
    EXPECT_THAT(result.err, HasSubstr("resume-source done"));
    EXPECT_FALSE(fs::exists(sockets_ + "/50-db.sock")) << "a participant that ends leaves nothing behind";
}

TEST_F(QuiesceCommand, AVetoRunsNothing) {
    add_hook("10-first", "echo 10-first $1 >>" + scratch_.file("log"));
    add_hook("50-db", "echo a backup runs; exit 1");
    const RunResult result = quiesce({"run", "--json"}, {"touch", scratch_.file("ran")});
    EXPECT_EQ(result.status, 3);
    EXPECT_THAT(result.err,
                HasSubstr("50-db (" + hooks_ + "/50-db) is not ready to be duplicated: a backup"));
    EXPECT_EQ(json::parse(result.out)["error"]["code"], "refused");
    EXPECT_FALSE(fs::exists(scratch_.file("ran")));
    EXPECT_THAT(log(), ElementsAre("10-first prepare", "10-first abort"));
}

TEST_F(QuiesceCommand, AHookThatHangsCostsItsDeadlineAndNoMore) {
    add_hook("50-db", "test $1 = abort || sleep 1000");
    const auto begin = std::chrono::steady_clock::now();
    const RunResult result = quiesce({"run", "--deadline", "0.3"});
    EXPECT_EQ(result.status, 3);
    EXPECT_THAT(result.err, HasSubstr("it did not answer in 0.3 s"));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(QuiesceCommand, ACommandThatFailsIsToldAsAbortAndItsStatusKept) {
    add_hook("50-db", "echo $1 >>" + scratch_.file("log"));
    EXPECT_EQ(quiesce({"run"}, {"sh", "-c", "exit 42"}).status, 42);
    EXPECT_THAT(log(), ElementsAre("prepare", "abort"));
    EXPECT_EQ(quiesce({"run"}, {"/no/such/program"}).status, 2);
    EXPECT_THAT(log(), ElementsAre("prepare", "abort", "prepare", "abort"));
}

TEST_F(QuiesceCommand, AWaitersCommandThatIsKilledHalfWayIsFollowedByItsAbort) {
    const RunResult result = shell(R"(
        "$D" quiesce wait --name 50-db --sockets "$sockets" --prepare 'kill -KILL $$' \
            --abort "echo abort >>$LOG" >$LOG.out &
        W=$!
        until grep -q waiting $LOG.out; do sleep 0.05; done
        run; status=$?
        kill $W; wait $W; exit $status)");
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_THAT(log(), ElementsAre("abort"));
}

TEST_F(QuiesceCommand, AParticipantThatIsEndedWhileAtRestGoesOnAndIsReported) {
    const RunResult result =
        shell("waiter 50-db; export W; run -- sh -c 'kill $W; while kill -0 $W; do sleep 0.05; done'");
    EXPECT_EQ(result.status, 8);
    EXPECT_THAT(result.err, HasSubstr("1 of the participants did not go on"));
    EXPECT_THAT(log(), ElementsAre("50-db prepare", "50-db abort"));
}

TEST_F(QuiesceCommand, WhenDupengineIsKilledAParticipantGoesOn) {
    const RunResult result = shell(R"(
        waiter 50-db
        run -- sh -c 'kill -KILL $PPID'
        for i in $(seq 2400); do if grep -q abort $LOG; then break; fi; sleep 0.05; done
        kill $W; wait $W)");
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(log(), ElementsAre("50-db prepare", "50-db abort"));
}

TEST_F(QuiesceCommand, AnInterruptedRunAbortsAll) {
    add_hook("10-first", "echo 10-first $1 >>" + scratch_.file("log"));
    add_hook("20-second", "test $1 = abort || kill -TERM $PPID; sleep 0.5");
    EXPECT_EQ(quiesce({"run"}, {"touch", scratch_.file("ran")}).status, 10);
    EXPECT_THAT(log(), ElementsAre("10-first prepare", "10-first abort"));
    EXPECT_FALSE(fs::exists(scratch_.file("ran")));
}

// P1-03: registered by whoever the administrator lets, and by nobody else.
TEST_F(QuiesceCommand, AUserTakesPartIfTheFolderIsHisGroups) {
    constexpr unsigned kGroup = 54321;
    ::chmod(sockets_.c_str(), 0775);
    ASSERT_EQ(::chown(sockets_.c_str(), 0, kGroup), 0);
    std::ofstream(scratch_.file("log"));
    std::ofstream(scratch_.file("log.out"));
    ::chmod(scratch_.file("log").c_str(), 0666);
    const RunResult result = shell(R"(
        waiter 50-db setpriv --reuid 65534 --regid 65534 --groups 54321
        run || exit
        chgrp 54322 "$sockets"
        run
        [ $? = 3 ] || exit 98
        kill $W; wait $W)");
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("user 65534 listens, who may not be a participant"));
    EXPECT_THAT(log(), ElementsAre("50-db prepare", "50-db resume-source"));
}

TEST_F(QuiesceCommand, ListShowsWhoIsCalledAndWhoCannotBe) {
    add_hook("50-db", "");
    add_hook("20-b", "");
    add_hook("notes", "");
    fs::remove(hooks_ + "/20-b");
    fs::create_symlink("/dev/null", hooks_ + "/20-b");
    const json report = json::parse(quiesce({"list", "--json"}).out);
    EXPECT_EQ(report["participants"][0]["name"], "50-db");
    EXPECT_EQ(report["masked"].size(), 1u);
    EXPECT_EQ(report["ignored"].size(), 1u);
    ::chmod((hooks_ + "/50-db").c_str(), 0777);
    const RunResult refused = quiesce({"list"});
    EXPECT_EQ(refused.status, 3);
    EXPECT_THAT(refused.out, HasSubstr("refused: " + hooks_ + "/50-db: others may write it"));
    EXPECT_EQ(quiesce({"run"}, {"touch", scratch_.file("ran")}).status, 3);
    EXPECT_FALSE(fs::exists(scratch_.file("ran")));
}

// The header is C, and the library needs nothing.
TEST_F(QuiesceCommand, AProgramInCTakesPart) {
    std::ofstream(scratch_.file("program.c")) << R"(
        #include "dupengine/client/quiesce.h"
        #include <poll.h>
        #include <stdio.h>
        static int told = 0;
        static int on_call(void *user, const struct dupengine_quiesce_call *call, char *why, size_t size) {
            (void)user; (void)why; (void)size;
            printf("%d %s\n", (int)call->phase, call->target);
            fflush(stdout);
            ++told;
            return 0;
        }
        int main(int argc, char **argv) {
            struct dupengine_quiesce *quiesce;
            if (argc != 2 || dupengine_quiesce_open(&quiesce, "50-c", argv[1]) != 0) return 1;
            while (told < 2) {
                struct pollfd polled = {dupengine_quiesce_fd(quiesce), POLLIN, 0};
                poll(&polled, 1, -1);
                if (dupengine_quiesce_dispatch(quiesce, on_call, NULL) != 0) return 1;
            }
            dupengine_quiesce_close(quiesce);
            return 0;
        }
    )";
    const std::string source = test::source_folder();
    test::must_run({"cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-I" + source,
                    "-I" + source + "/dupengine", "-o", scratch_.file("program"), scratch_.file("program.c"),
                    source + "/dupengine/client/quiesce.c"});
    const RunResult result = shell(
        "\"${LOG%log}program\" \"$sockets\" >$LOG & W=$!;"
        "until [ -S \"$sockets/50-c.sock\" ]; do sleep 0.05; done;"
        "run --target dup://web2 && wait $W");
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(log(), ElementsAre("1 dup://web2", "2 dup://web2"));
}

}  // namespace
}  // namespace dupengine
