// What can go wrong on either machine while one is duplicated with its memory: the target's disk fails, a
// participant hangs or says no, the command is killed in the pause. The source runs on, and the target is
// plainly nothing.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "block/open.h"
#include "layout/incomplete_mark.h"
#include "machine/disk_uses.h"
#include "machine/quiesce_participants.h"
#include "tests/support/becomes.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/live_rig.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using test::BusyMachine;
using test::Duplicated;
using test::Duplication;
using testing::ElementsAre;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class LiveFaults : public testing::Test {
  protected:
    static Duplication onto(const std::string& target) {
        Duplication how{target};
        how.patience = {.silence = 5s, .message = 5s, .farewell = 500ms};
        return how;
    }
    void expect_source_runs_on() {
        EXPECT_TRUE(machine_.is_at_work()) << "the source stands still";
        const auto& seen = machine_.seen();
        EXPECT_EQ(seen.prepared, seen.resumed + seen.aborted);
        EXPECT_EQ(seen.gate_closed, seen.gate_opened);
    }
    static bool is_marked(const std::string& disk) {
        return layout::find_mark(*block::open_source(disk)).has_value();
    }

    BusyMachine machine_;
    test::ScratchFolder folder_;
    const std::string target_ = folder_.sparse_file("target.img", BusyMachine::kDiskBytes);
};

// -- a disk of the target that does not take a write

// A target that holds all already, but for one block that changes when the test says: only then it is
// written, and cannot be.
class TargetDiskFails : public LiveFaults {
  protected:
    TargetDiskFails() {
        write_block("as it was first, on both");
        EXPECT_TRUE(test::duplicate_live(machine_, onto(target_)).is_complete());
        const Bytes disk = machine_.disk_at_rest();
        const auto found = as_text(disk).find("as it was first, on both");
        EXPECT_NE(found, std::string_view::npos);
        disk_.emplace(folder_, target_, test::Fault{.sector = found / 512, .on_write = true});
    }
    // In place, in the middle of a file that nobody else writes.
    void write_block(const std::string& text) const {
        const Fd fd = open_path(machine_.file("large"), O_WRONLY, Code::kInternal);
        Bytes block(4096);
        std::ranges::copy(as_bytes(text), block.begin());
        pwrite_exact(fd.get(), 1536 * kKiB, block, Code::kInternal, "large");
        if (::fsync(fd.get()) != 0) throw_errno(Code::kInternal, errno, "large");
    }
    Duplication differences() const {
        Duplication how = onto(disk_->path());
        how.options.delta = engine::Delta::kAlways;
        how.options.tuning.chunk_bytes = 64 * kKiB;
        return how;
    }
    void expect_it_failed(const Duplicated& outcome, Clock::duration took) {
        ASSERT_TRUE(outcome.target_error) << "it would become half a machine";
        EXPECT_EQ(outcome.target_error->code(), Code::kTargetIo) << outcome.target_error->what();
        ASSERT_TRUE(outcome.source_error);
        EXPECT_EQ(outcome.source_error->code(), Code::kTargetIo) << outcome.source_error->what();
        EXPECT_LT(took, 60s) << "both ends know, and go on waiting";
        EXPECT_TRUE(is_marked(target_)) << "it would start as a second source";
        expect_source_runs_on();
    }

    std::optional<test::FaultyDisk> disk_;
};

TEST_F(TargetDiskFails, InARoundAndNothingPauses) {
    Duplication how = differences();
    how.before_round = [this](std::uint32_t number) {
        if (number == 1) write_block("written meanwhile");
    };
    const auto begin = Clock::now();
    const Duplicated outcome = test::duplicate_live(machine_, how);
    expect_it_failed(outcome, Clock::now() - begin);
    EXPECT_EQ(machine_.seen().prepared, 0);
}

TEST_F(TargetDiskFails, InTheLastRoundAndAllGoesOn) {
    Duplication how = differences();
    how.live = machine_.options();
    how.live->prepare = [this] {
        ++machine_.seen().prepared;
        write_block("the last thing that a participant wrote");
    };
    const auto begin = Clock::now();
    const Duplicated outcome = test::duplicate_live(machine_, how);
    expect_it_failed(outcome, Clock::now() - begin);
    EXPECT_GE(machine_.seen().prepared, 1);
}

// -- participants

class LiveParticipants : public LiveFaults {
  protected:
    LiveParticipants() {
        std::filesystem::create_directory(places_.folders.front());
        for (const std::string& folder : {folder_.path(), places_.folders.front()})
            ::chmod(folder.c_str(), 0755);
    }
    // Each writes what it is told; `more` is what else the middle one does.
    void add_hooks(const std::string& more) const {
        for (const std::string name : {"10-first", "50-db", "90-last"}) {
            const std::string path = places_.folders.front() + "/" + name;
            std::ofstream(path) << "#!/bin/sh\necho " << name << " $1 >> " << log_ << "\n"
                                << (name == "50-db" ? more : "") << "\n";
            ::chmod(path.c_str(), 0755);
        }
    }
    std::vector<std::string> told() const {
        std::ifstream file(log_);
        std::vector<std::string> lines;
        for (std::string line; std::getline(file, line);)
            lines.push_back(line);
        return lines;
    }
    // What `clone` does with them (cli/participants.cc), with less patience.
    Duplication with_hooks() {
        quiesce_ = std::make_unique<machine::Quiesce>(
            machine::find_participants(places_, {.folder = folder_.file("sockets")}).participants,
            machine::QuiesceOptions{.call_deadline = 500ms});
        Duplication how = onto(target_);
        how.live = machine_.options();
        how.live->prepare = [this] { quiesce_->prepare({"source", "target"}); };
        how.live->resume = [this](bool is_done) {
            is_done ? quiesce_->resume_source() : quiesce_->abort();
            return std::vector<std::string>();
        };
        how.live->abort_all = [this] { quiesce_->abort_all(); };
        return how;
    }
    void expect_it_was_called_off(const Duplicated& outcome) {
        ASSERT_TRUE(outcome.source_error && outcome.target_error);
        EXPECT_THAT(outcome.source_error->what(), HasSubstr("50-db"));
        EXPECT_THAT(outcome.target_error->what(), HasSubstr("50-db"));
        EXPECT_TRUE(is_marked(target_));
        EXPECT_FALSE(machine_.seen().is_at_rest) << "it paused all the same";
        expect_source_runs_on();
    }

    const std::string log_ = folder_.file("told");
    machine::HookPlaces places_{.folders = {folder_.file("hooks")}};
    std::unique_ptr<machine::Quiesce> quiesce_;
};

TEST_F(LiveParticipants, AreToldInOrderAndBackwards) {
    add_hooks("");
    const Duplicated outcome = test::duplicate_live(machine_, with_hooks());
    EXPECT_TRUE(outcome.is_complete());
    EXPECT_THAT(told(),
                ElementsAre("10-first prepare", "50-db prepare", "90-last prepare", "90-last resume-source",
                            "50-db resume-source", "10-first resume-source"));
}

TEST_F(LiveParticipants, OneThatSaysNoCallsItOff) {
    add_hooks("[ $1 != prepare ] || exit 1");
    expect_it_was_called_off(test::duplicate_live(machine_, with_hooks()));
    EXPECT_THAT(told(), ElementsAre("10-first prepare", "50-db prepare", "10-first abort"));
}

TEST_F(LiveParticipants, OneThatHangsCostsItsDeadlineAndCallsItOff) {
    add_hooks("[ $1 != prepare ] || sleep 600");
    const auto begin = Clock::now();
    expect_it_was_called_off(test::duplicate_live(machine_, with_hooks()));
    EXPECT_LT(Clock::now() - begin, 120s);
    EXPECT_THAT(told(), ElementsAre("10-first prepare", "50-db prepare", "50-db abort", "10-first abort"));
}

// -- the source's own command

// Its live process has everything at rest at that moment, and is told by nobody any more how to go on.
TEST_F(LiveFaults, ACommandThatIsKilledInThePauseLeavesTheSourceAtWork) {
    machine_.seen().is_held = true;
    const pid_t command = ::fork();
    if (command == 0) {
        const auto disk = block::open_source(machine_.disk());
        machine::HotDisk hot(*disk, machine_.disk(), {});
        machine::LiveProcess process(hot, machine_.options());
        try {
            process.black_out();
        } catch (...) {
        }
        ::_exit(0);
    }
    ASSERT_TRUE(test::becomes([this] { return machine_.seen().is_at_rest.load(); }));
    ::kill(command, SIGKILL);
    ::waitpid(command, nullptr, 0);
    machine_.seen().is_held = false;
    test::becomes([this] { return machine_.seen().resumed != 0; });
    EXPECT_EQ(machine_.seen().resumed, 1) << "those who were prepared wait for ever";
    expect_source_runs_on();
}

}  // namespace
}  // namespace dupengine
