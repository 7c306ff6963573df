// Images in one tar: in a file, and through real pipes.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/faulty_disk.h"

namespace dupengine {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class StreamCommand : public testing::Test {
  protected:
    StreamCommand() {
        source_ = test::make_disk_image(scratch_, "source.img");
        std::filesystem::create_directory(temporary_);
        test::must_run({test::command(), "image", "keygen", key_});
    }
    ~StreamCommand() override {
        EXPECT_TRUE(std::filesystem::is_empty(temporary_)) << "scratch files are left behind";
    }

    // A line of shell: $D is the command, $S the source, $T the target, $K the key.
    RunResult shell(const std::string& line, const std::string& more = "") {
        return run_program({"env", "D=" + test::command(), "S=" + source_.path, "T=" + target_, "K=" + key_,
                            "TMPDIR=" + temporary_, "X=" + tar_, "bash", "-c",
                            "set -o pipefail; " + more + line});
    }
    void expect_same(const std::string& target) {
        const RunResult result = test::run_dupengine({"verify", source_.path, target});
        EXPECT_EQ(result.status, 0) << result.out << result.err;
    }
    // An image of which describing the disk reads everything: no byte of data stands at the end of the tar.
    std::string make_small_tar() {
        const std::string disk = scratch_.sparse_file("small.img", 16 << 20),
                          tar = scratch_.file("small.tar");
        test::must_run({"sgdisk", "-n", "1:2048:0", disk});
        test::must_run({test::command(), "copy", "--sign-key", key_, disk, "image:" + tar});
        return tar;
    }
    void expect_unfinished() {
        const RunResult result = test::run_dupengine({"verify", target_});
        EXPECT_EQ(result.status, 6) << result.out << result.err;
        EXPECT_THAT(result.out, HasSubstr("has not finished"));
    }

    test::ScratchFolder scratch_;
    test::DiskImage source_;
    std::string key_ = scratch_.file("images.key");
    std::string target_ = scratch_.file("target.img");
    std::string temporary_ = scratch_.file("tmp");
    std::string tar_ = scratch_.file("image.tar");
};

constexpr const char* kCapture = "$D copy --sign-key $K $S image:-";
constexpr const char* kRestore = "$D copy --yes --trust $K.pub image:- $T";

TEST_F(StreamCommand, ADiskGoesThroughAPipeOntoAnother) {
    test::fill_with_old_data(target_, 120 << 20);
    const test::LoopDevice loop(target_);
    const RunResult result = run_program({"env", "D=" + test::command(), "TMPDIR=" + temporary_, "bash", "-c",
                                          fmt::format("set -o pipefail; $D copy --sign-key {0} {1} image:- | "
                                                      "$D copy --yes --trust {0}.pub image:- {2}",
                                                      key_, source_.path, loop.path())});
    EXPECT_EQ(result.status, 0) << result.err;
    expect_same(loop.path());
    EXPECT_FALSE(test::file_contains(target_, test::kDeletedText));
    EXPECT_THAT(test::must_run({"sgdisk", "-v", loop.path()}), HasSubstr("No problems found"));
    const std::string part = scratch_.file("root");
    test::extract_range(target_, source_.root, part);
    EXPECT_EQ(run_program({"e2fsck", "-fn", part}).status, 0);
}

TEST_F(StreamCommand, ATarInAFileIsReadLikeAStore) {
    ASSERT_EQ(shell("$D copy --sign-key $K $S image:$X").status, 0);
    EXPECT_EQ(shell("$D verify --trust $K.pub image:$X").status, 0);
    EXPECT_THAT(shell("$D inspect image:$X").out, HasSubstr("disk@1"));
    EXPECT_EQ(shell("$D copy --yes --create --trust $K.pub image:$X $T").status, 0);
    expect_same(target_);
    // Any tar program may have been at it.
    EXPECT_EQ(shell("mkdir $TMPDIR/e && tar -xf $X -C $TMPDIR/e && tar -cf $X -C $TMPDIR/e images packs "
                    "store.json && "
                    "rm -r $TMPDIR/e")
                  .status,
              0);
    const RunResult foreign = shell("$D verify --trust $K.pub image:$X");
    EXPECT_EQ(foreign.status, 6) << "folders are in it now";
    EXPECT_EQ(shell("$D copy --sign-key $K $S image:$X").status, 3) << "there is one already";
    EXPECT_EQ(shell("$D image prune $X").status, 3);
    EXPECT_EQ(shell("$D image sign --sign-key $K image:$X").status, 3);
}

TEST_F(StreamCommand, WhatComesThroughAPipeIsCheckedAndInspected) {
    ASSERT_EQ(shell("$D copy --sign-key $K $S image:$X#web@7").status, 0);
    EXPECT_THAT(shell("cat $X | $D inspect image:-").out, HasSubstr("web@7"));
    EXPECT_THAT(shell("cat $X | $D verify --trust $K.pub image:-").out, HasSubstr("sound"));
    EXPECT_EQ(shell("cat $X | $D copy --yes --create --trust $K.pub image:-#web@7 $T").status, 0);
    EXPECT_EQ(shell("cat $X | $D verify --trust $K.pub image:- $T").status, 0);
    EXPECT_EQ(shell("cat $X | $D copy --yes --trust $K.pub image:-#web@8 $T").status, 3);
    EXPECT_EQ(shell("cat $X | $D copy --yes --trust $K.pub --delta=always image:- $T").status, 0);
    expect_same(target_);
}

TEST_F(StreamCommand, WhatNobodyVouchesForIsRefusedBeforeTheFirstWrite) {
    test::fill_with_old_data(target_, 96 << 20);
    const std::string before = test::file_sha256(target_);
    EXPECT_EQ(shell("$D copy $S image:- | $D copy --yes --trust $K.pub image:- $T").status, 7);
    EXPECT_EQ(shell("$D image keygen $T.other; $D copy --sign-key $T.other $S image:- | "
                    "$D copy --yes --trust $K.pub image:- $T")
                  .status,
              7);
    for (const char* line :
         {"head -c 100 /dev/urandom | ", "true | ", "head -c 3M /dev/zero | ", "echo hello | "})
        EXPECT_EQ(shell(std::string(line) + kRestore).status, 6) << line;
    EXPECT_EQ(test::file_sha256(target_), before);
}

TEST_F(StreamCommand, APipeThatIsCutLeavesAnUnfinishedTarget) {
    ASSERT_EQ(shell("$D copy --sign-key $K $S image:$X").status, 0);
    const auto size = std::filesystem::file_size(tar_);
    test::fill_with_old_data(target_, 96 << 20);
    const std::string before = test::file_sha256(target_);
    std::mt19937_64 random(5);
    std::vector<std::uint64_t> cuts = {size - 70'000, size - 1025, size - 1024, size - 512, size - 1};
    for (int i = 0; i < 5; ++i)
        cuts.push_back(random() % size);
    bool some_began = false;
    for (const std::uint64_t cut : cuts) {
        const RunResult result = shell(fmt::format("head -c {} $X | {}", cut, kRestore));
        EXPECT_EQ(result.status, 6) << "cut at " << cut << ": " << result.err;
        if (!some_began && test::file_sha256(target_) == before) continue;
        some_began = true;
        expect_unfinished();
    }
    EXPECT_TRUE(some_began);
    EXPECT_EQ(shell(fmt::format("cat $X | {}", kRestore)).status, 0);
    expect_same(target_);
}

TEST_F(StreamCommand, APipeThatIsCutBehindTheLastByteThatIsNeededIsNoWholeImage) {
    ASSERT_EQ(shell("$D copy --sign-key $K $S image:$X").status, 0);
    for (const char* end : {"1024", "512"}) {
        const std::string cut = fmt::format("head -c -{} $X | ", end);
        const RunResult checked = shell(cut + "$D verify --trust $K.pub image:-");
        EXPECT_EQ(checked.status, 6) << checked.out;
        EXPECT_THAT(checked.out, Not(HasSubstr("sound")));
        EXPECT_THAT(checked.err, HasSubstr("cut off"));
        for (const char* target : {"image:$TMPDIR/store", "image:$TMPDIR/new.tar", "image:- >/dev/null"}) {
            const RunResult captured = shell(cut + "$D copy --trust $K.pub image:- " + target);
            EXPECT_EQ(captured.status, 6) << target << captured.out;
            EXPECT_THAT(captured.err, HasSubstr("cut off"));
        }
        EXPECT_NE(shell("$D inspect image:$TMPDIR/store#disk").status, 0);
        EXPECT_FALSE(std::filesystem::exists(temporary_ + "/new.tar"));
        std::filesystem::remove_all(temporary_ + "/store");
        const RunResult copied =
            shell(cut + "$D copy --yes --create --busy-source --trust $K.pub image:- $T");
        EXPECT_EQ(copied.status, 6) << copied.out;
        expect_unfinished();
        EXPECT_EQ(shell(cut + "$D verify --trust $K.pub image:- $T").status, 6);
        EXPECT_EQ(shell(cut + "$D inspect image:-").status, 6);
    }
    test::fill_with_old_data(target_, 32 << 20);
    const RunResult copied = shell("head -c -1024 " + make_small_tar() + " | " + kRestore);
    EXPECT_EQ(copied.status, 6) << copied.out;
    expect_unfinished();
}

// All of it is in front of the index there, and read out of a scratch file.
TEST_F(StreamCommand, APipeWithABareFilesystemThatIsCutIsCutOffWhereverItIs) {
    const std::string bare = scratch_.file("bare.img");
    test::must_run({"dd", "if=/dev/urandom", "of=" + bare, "bs=1M", "count=24", "status=none"});
    ASSERT_EQ(shell("$D copy " + bare + " image:$X").status, 0);
    const auto size = std::filesystem::file_size(tar_);
    for (std::uint64_t part = 1; part < 8; ++part) {
        test::fill_with_old_data(target_, 24 << 20);
        const RunResult result =
            shell(fmt::format("head -c {} $X | $D copy --yes --insecure image:- $T", size * part / 8));
        EXPECT_EQ(result.status, 6) << part << "/8: " << result.err;
        EXPECT_THAT(result.err, HasSubstr("standard input"));
    }
}

TEST_F(StreamCommand, WhoWaitsForTheEndCanBeStoppedAndHasNotFinished) {
    const std::string small = make_small_tar();
    // All is compared, and only the end is missing.
    const std::string waits = R"("verify","done_bytes":\([0-9]*\),"total_bytes":\1,.*"ended":false)";
    const RunResult result = shell(
        "exec 3< <(head -c -1024 " + small +
        "; exec sleep 300); sender=$!; $D copy --progress json --yes --create --trust $K.pub image:- $T "
        "<&3 2>$S.progress & until grep -q '" +
        waits +
        "' $S.progress; do sleep 0.05; done; kill -TERM $!; wait $!; status=$?; kill $sender; "
        "cat $S.progress >&2; exit $status");
    EXPECT_EQ(result.status, 10) << result.err;
    EXPECT_THAT(result.err, HasSubstr("stopped on request while waiting for standard input"));
    EXPECT_THAT(result.out, Not(HasSubstr("done")));
    expect_unfinished();
    // Whoever has sent the end may keep the pipe open.
    ASSERT_EQ(shell("$D copy --sign-key $K $S image:$X; rm $T").status, 0);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(shell("exec 3< <(cat $X; exec sleep 100); $D copy --yes --trust $K.pub --create image:- $T "
                    "<&3; status=$?; "
                    "kill $!; exit $status")
                  .status,
              0);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
    expect_same(target_);
}

TEST_F(StreamCommand, WhatIsSentIsNotCalledVerified) {
    const RunResult told = shell("$D copy --sign-key $K $S image:- >$X");
    EXPECT_EQ(told.status, 0) << told.err;
    EXPECT_THAT(told.err, HasSubstr("sent, not read back: image:-#disk@1"));
    EXPECT_THAT(told.err, Not(HasSubstr("verified")));
    EXPECT_EQ(shell("$D verify --trust $K.pub image:$X").status, 0) << "a file all the same";
    EXPECT_EQ(shell("$D copy --yes --create --trust $K.pub image:$X $T").status, 0);
    expect_same(target_);
    const RunResult machine = shell("$D copy --json --progress=none $S image:- | cat >$X");
    EXPECT_EQ(json::parse(machine.err).at("result"), "sent");
    const RunResult file = shell("rm $X; $D copy --json $S image:$X");
    EXPECT_EQ(json::parse(file.out).at("result"), "verified");
    EXPECT_EQ(shell("$D copy $S image:- >/dev/null").status, 0);
}

// Writes to a disk go to memory first; that they do not reach it is heard of when they are flushed.
TEST_F(StreamCommand, ADiskThatDoesNotTakeWhatIsSentToItIsAnError) {
    const std::string disk = scratch_.sparse_file("disk.img", 256 << 20);
    const test::FaultyDisk faulty(scratch_, disk, {.sector = 4096, .on_write = true});
    const RunResult result = shell("$D copy $S image:- >" + faulty.path());
    EXPECT_EQ(result.status, 5) << result.err;
    EXPECT_THAT(result.err, HasSubstr("flush failed"));
}

TEST_F(StreamCommand, KillingEitherEndLeavesAnUnfinishedTargetAndTheOtherEndEnds) {
    ASSERT_EQ(shell("$D copy --sign-key $K $S image:$X").status, 0);
    // All but the end goes through, until the target is marked; then the one whose number is in the file
    // goes. The end is more than two pipes and a program between them can hold.
    const std::string gate = fmt::format(
        "(head -c {}; until [ $(head -c 512 $T | tr -d '\\0' | wc -c) = 0 ]; do sleep 0.05; done; kill -9 "
        "$(cat $TMPDIR/pid); rm $TMPDIR/pid; ",
        std::filesystem::file_size(tar_) - 600'000);
    const auto noting = [](const std::string& line) {
        return "(" + line + " & echo $! >$TMPDIR/pid; wait $!)";
    };
    test::fill_with_old_data(target_, 96 << 20);
    const RunResult no_sender = shell(noting(kCapture) + " | " + gate + ") | " + kRestore);
    EXPECT_EQ(no_sender.status, 6) << no_sender.err;
    expect_unfinished();
    test::fill_with_old_data(target_, 96 << 20);
    const RunResult no_reader = shell("(" + std::string(kCapture) + "; echo $? >$TMPDIR/status) | " + gate +
                                      "cat) | " + noting(std::string(kRestore) + " <&3") + " 3<&0");
    const std::string status = read_file(temporary_ + "/status", Code::kInternal);
    std::filesystem::remove(temporary_ + "/status");
    EXPECT_EQ(status, "5\n") << no_reader.err;
    expect_unfinished();
}

// All is read for the second time.
const std::string kSlowTar =
    "$D copy --progress json --rate 4M $S image:$X 2>$S.progress & "
    "until grep -q '\"capture\"' $S.progress; do sleep 0.05; done; ";

TEST_F(StreamCommand, ATarInAFileThatIsGivenUpHasNoName) {
    const RunResult killed = shell(kSlowTar + "kill -9 $!; wait $!; true");
    EXPECT_EQ(killed.status, 0);
    EXPECT_FALSE(std::filesystem::exists(tar_));
    const RunResult interrupted = shell(kSlowTar + "kill -TERM $!; wait $!");
    EXPECT_EQ(interrupted.status, 10) << interrupted.err;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_.path()))
        EXPECT_EQ(entry.path().string().find(".tar"), std::string::npos) << entry.path();
}

TEST_F(StreamCommand, ASourceThatChangesBetweenTheTwoReadingsIsNoImage) {
    const RunResult result = shell(
        kSlowTar + "dd if=/dev/urandom of=$S bs=4K count=1 seek=10000 conv=notrunc status=none; wait $!");
    EXPECT_EQ(result.status, 6) << result.err;
    EXPECT_FALSE(std::filesystem::exists(tar_));
}

struct Mounted {
    std::string path;
    ~Mounted() { run_program({"umount", path}); }
};

TEST_F(StreamCommand, NoRoomForWhatIsNeededAgainIsToldAndRefused) {
    ASSERT_EQ(shell("$D copy --sign-key $K $S image:$X").status, 0);
    const std::string small = scratch_.file("small");
    std::filesystem::create_directory(small);
    test::must_run({"mount", "-t", "tmpfs", "-o", "size=64K", "tmpfs", small});
    const Mounted mounted{small};
    test::fill_with_old_data(target_, 96 << 20);
    const std::string before = test::file_sha256(target_);
    const std::string set = "export TMPDIR=" + small + "; ";
    const RunResult read = shell(std::string("cat $X | ") + kRestore, set);
    EXPECT_EQ(read.status, 9) << read.err;
    EXPECT_THAT(read.err, HasSubstr("TMPDIR"));
    EXPECT_EQ(test::file_sha256(target_), before);
    const RunResult written = shell("$D copy $S image:$X.2", set + "mv $X $X.2.tar; ");
    EXPECT_EQ(written.status, 0) << "a store needs no such room: " << written.err;
    const RunResult packed = shell("$D copy $S image:$X", set);
    EXPECT_EQ(packed.status, 3) << packed.err;
    EXPECT_THAT(packed.err, HasSubstr("TMPDIR"));
}

}  // namespace
}  // namespace dupengine
