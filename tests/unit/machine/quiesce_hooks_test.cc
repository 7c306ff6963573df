// Hooks that are programs: which are run, what they are told, and that none can hold up the machine.

#include "machine/quiesce_hooks.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/fd.h"
#include "machine/hook_process.h"
#include "tests/support/becomes.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class QuiesceHooks : public testing::Test {
  protected:
    QuiesceHooks() {
        for (const char* folder : {"etc", "run", "usr"}) {
            fs::create_directory(scratch_.file(folder));
            ::chmod(scratch_.file(folder).c_str(), 0755);
            places_.folders.push_back(scratch_.file(folder));
        }
    }
    std::string add(const std::string& name, const std::string& script, unsigned mode = 0755) {
        const std::string path = scratch_.file(name);
        std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
        ::chmod(path.c_str(), mode);
        return path;
    }
    Answer call_only(milliseconds deadline = milliseconds(5'000)) {
        const FoundHooks found = find_hooks(places_);
        EXPECT_THAT(found.participants, SizeIs(1));
        return found.participants.at(0)->call({Phase::kPrepare, {"web1", "dup://web2"}, deadline});
    }
    std::string why_refused() {
        const FoundHooks found = find_hooks(places_);
        EXPECT_THAT(found.participants, IsEmpty());
        EXPECT_THAT(found.refused, SizeIs(1));
        return found.refused.at(0).why;
    }
    std::string content(const std::string& name) { return read_file(scratch_.file(name), Code::kInternal); }

    test::ScratchFolder scratch_;
    HookPlaces places_{.folders = {}, .owner = ::geteuid()};
};

TEST_F(QuiesceHooks, AreCalledInTheOrderOfTheirNamesFromAllFolders) {
    add("usr/50-b", "");
    add("etc/90-c", "");
    add("run/10-a", "");
    std::vector<std::string> names;
    for (const auto& hook : find_hooks(places_).participants)
        names.push_back(hook->name());
    EXPECT_THAT(names, ElementsAre("10-a", "50-b", "90-c"));
}

TEST_F(QuiesceHooks, AFileInEtcStandsInForOneOfTheSameNameAndALinkToDevNullTakesItOut) {
    add("usr/10-a", "");
    add("usr/20-b", "");
    const std::string own = add("etc/10-a", "");
    fs::create_symlink("/dev/null", scratch_.file("etc/20-b"));
    const FoundHooks found = find_hooks(places_);
    ASSERT_THAT(found.participants, SizeIs(1));
    EXPECT_EQ(found.participants[0]->where(), own);
    ASSERT_THAT(found.masked, SizeIs(1));
    EXPECT_EQ(found.masked[0].where, scratch_.file("etc/20-b"));
}

TEST_F(QuiesceHooks, AreToldWhatGoesOn) {
    add("etc/10-a",
        "echo \"$1 $DUPENGINE_PHASE $DUPENGINE_ROLE $DUPENGINE_NODE $DUPENGINE_TARGET "
        "$DUPENGINE_DEADLINE_MS $#\"");
    EXPECT_EQ(call_only().text, "prepare prepare source web1 dup://web2 5000 1\n");
    const FoundHooks found = find_hooks(places_);
    const Answer answer =
        found.participants[0]->call({Phase::kResumeTarget, {"web2", ""}, milliseconds(5'000)});
    EXPECT_EQ(answer.text, "resume-target resume-target target web2  5000 1\n");
}

TEST_F(QuiesceHooks, NothingOfOurEnvironmentReachesThem) {
    ::setenv("LD_PRELOAD_OF_TEST", "secret", 1);
    add("etc/10-a", "env");
    const Answer answer = call_only();
    ::unsetenv("LD_PRELOAD_OF_TEST");
    EXPECT_THAT(answer.text, testing::Not(HasSubstr("secret")));
}

TEST_F(QuiesceHooks, AVetoComesWithWhatTheHookSaid) {
    add("etc/10-a", "echo a backup runs >&2; exit 3");
    const Answer answer = call_only();
    EXPECT_EQ(answer.outcome, Outcome::kFailed);
    EXPECT_EQ(answer.text, "a backup runs\n");
}

TEST_F(QuiesceHooks, OneThatHangsIsKilledSoonWhenAllIsCalledOff) {
    add("etc/10-a", "exec sleep 600");
    const auto begin = steady_clock::now();
    Call call{Phase::kPrepare, {"web1", "dup://web2"}, std::chrono::minutes(10)};
    call.is_called_off = [&] { return steady_clock::now() - begin > milliseconds(200); };
    EXPECT_EQ(find_hooks(places_).participants.at(0)->call(call).outcome, Outcome::kLate);
    EXPECT_LT(steady_clock::now() - begin, milliseconds(60'000));
}

TEST_F(QuiesceHooks, OneThatHangsIsKilledWithItsChildren) {
    add("etc/10-a", "sh -c 'echo $$ > " + scratch_.file("child") + "; exec sleep 1000' & sleep 1000");
    Call call{Phase::kPrepare, {"web1", "dup://web2"}, std::chrono::minutes(2)};
    call.is_called_off = [&] {
        return std::filesystem::exists(scratch_.file("child")) && content("child").ends_with('\n');
    };
    EXPECT_EQ(find_hooks(places_).participants.at(0)->call(call).outcome, Outcome::kLate);
    const int child = std::stoi(content("child"));
    EXPECT_TRUE(test::becomes([child] { return ::kill(child, 0) != 0; })) << "the child goes on";
}

// Its application is at rest, and nobody else would let it go on.
TEST_F(QuiesceHooks, OneThatIsKilledHalfWayIsToldToAbort) {
    add("etc/10-db", "echo $1 >>" + scratch_.file("log") + "; test $1 = abort || kill -KILL $$");
    Quiesce quiesce(std::move(find_hooks(places_).participants), {});
    try {
        quiesce.prepare({"web1", ""});
        ADD_FAILURE() << "it was prepared";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("killed half-way"));
        EXPECT_THAT(e.what(), HasSubstr("told to abort"));
    }
    EXPECT_EQ(content("log"), "prepare\nabort\n");
}

TEST_F(QuiesceHooks, OneWhoseCommandWasKilledIsToldToAbort) {
    add("etc/10-db", "sh -c 'kill -KILL $$'; exit $?");
    EXPECT_EQ(call_only().outcome, Outcome::kDied);
}

TEST_F(QuiesceHooks, AChildThatHoldsItsOutputIsNotWaitedFor) {
    add("etc/10-a", "sleep 1000 & echo $! > " + scratch_.file("child") + "; echo prepared");
    const auto begin = steady_clock::now();
    const Answer answer = call_only(milliseconds(20'000));
    EXPECT_LT(steady_clock::now() - begin, milliseconds(10'000));
    EXPECT_EQ(answer.outcome, Outcome::kDone);
    EXPECT_EQ(answer.text, "prepared\n");
    ::kill(std::stoi(content("child")), SIGKILL);
}

TEST_F(QuiesceHooks, EndlessOutputIsCutAndStopsNothing) {
    add("etc/10-a", "head -c 3000000 /dev/zero | tr '\\0' x");
    const Answer answer = call_only(milliseconds(20'000));
    EXPECT_EQ(answer.outcome, Outcome::kDone);
    EXPECT_EQ(answer.text.size(), kMaxHookOutput);
    add("etc/10-a", "yes");
    EXPECT_EQ(call_only(milliseconds(300)).outcome, Outcome::kLate);
}

TEST_F(QuiesceHooks, OneThatOthersMayWriteIsRefused) {
    const std::string path = add("etc/10-a", "", 0775);
    EXPECT_THAT(why_refused(), HasSubstr("others may write it (mode 0775)"));
    ::chmod(path.c_str(), 0757);
    EXPECT_THAT(why_refused(), HasSubstr("others may write it"));
    ::chmod(path.c_str(), 0644);
    EXPECT_THAT(why_refused(), HasSubstr("not executable"));
    places_.owner += 1;
    EXPECT_THROW(find_hooks(places_), Error) << "the folder is another user's, too";
}

TEST_F(QuiesceHooks, ALinkToWhereOthersMayWriteIsRefused) {
    fs::create_directory(scratch_.file("open"));
    ::chmod(scratch_.file("open").c_str(), 0777);
    fs::create_symlink(add("open/real", ""), scratch_.file("etc/10-a"));
    EXPECT_THAT(why_refused(), HasSubstr("of its folder"));
    ::unlink(scratch_.file("open/real").c_str());
    EXPECT_THAT(why_refused(), HasSubstr("cannot be read"));
}

// Whoever owns a folder above can put another one in its place.
TEST_F(QuiesceHooks, OneBelowAFolderThatOthersMayWriteIsRefused) {
    fs::create_directories(scratch_.file("open/quiesce.d"));
    ::chmod(scratch_.file("open/quiesce.d").c_str(), 0755);
    ::chmod(scratch_.file("open").c_str(), 0777);
    add("open/quiesce.d/10-a", "true");
    places_.folders = {scratch_.file("open/quiesce.d")};
    EXPECT_THAT(why_refused(), HasSubstr("others may write it"));
    ::chmod(scratch_.file("open").c_str(), 01777);  // like /tmp: nobody moves what is another's
    EXPECT_EQ(call_only().outcome, Outcome::kDone);
}

TEST_F(QuiesceHooks, OneThatWasChangedSinceItWasFoundIsNotRun) {
    const std::string path = add("etc/10-a", "touch " + scratch_.file("ran"));
    const FoundHooks found = find_hooks(places_);
    ::chmod(path.c_str(), 0777);
    EXPECT_EQ(found.participants[0]->call({Phase::kPrepare, {}, milliseconds(5'000)}).outcome,
              Outcome::kFailed);
    EXPECT_FALSE(fs::exists(scratch_.file("ran")));
}

TEST_F(QuiesceHooks, AFolderThatOthersMayWriteIsRefused) {
    ::chmod(scratch_.file("usr").c_str(), 0777);
    EXPECT_THROW(find_hooks(places_), Error);
}

TEST_F(QuiesceHooks, WhatEditorsLeaveBehindIsNotRunAndSaid) {
    add("etc/10-a.dpkg-old", "");
    add("etc/README", "");
    const FoundHooks found = find_hooks(places_);
    EXPECT_THAT(found.participants, IsEmpty());
    EXPECT_THAT(found.ignored, SizeIs(2));
}

TEST_F(QuiesceHooks, TooManyAreRefused) {
    for (std::size_t i = 0; i <= kMaxHooks; ++i)
        add(fmt::format("etc/10-{}", i), "");
    EXPECT_THROW(find_hooks(places_), Error);
}

TEST_F(QuiesceHooks, OneThatCannotBeStartedIsAVeto) {
    std::ofstream(add("etc/10-a", "")) << "#!/no/such/interpreter\n";
    const Answer answer = call_only();
    EXPECT_EQ(answer.outcome, Outcome::kFailed);
    EXPECT_THAT(answer.text, HasSubstr("cannot be started"));
}

TEST(ParticipantName, IsTwoDigitsAHyphenAndPlainCharacters) {
    for (const char* good : {"00-a", "50-db", "99-A_b-9"})
        EXPECT_TRUE(is_participant_name(good)) << good;
    for (const char* bad : {"", "5-db", "50db", "50-", "50-a.sh", "50-a b", "50-a/b", "a0-db", "50-a~", ".."})
        EXPECT_FALSE(is_participant_name(bad)) << bad;
    EXPECT_TRUE(is_participant_name("50-" + std::string(61, 'x')));
    EXPECT_FALSE(is_participant_name("50-" + std::string(62, 'x')));
}

}  // namespace
}  // namespace dupengine::machine
