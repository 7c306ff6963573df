// Disks in somebody else's form, as sources.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>

#include "base/child_program.h"
#include "tests/support/becomes.h"
#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using ::testing::HasSubstr;

class ForeignSource : public testing::Test {
  protected:
    ForeignSource() { source_ = test::make_disk_image(scratch_, "source.img"); }

    RunResult copy(const std::string& from, const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments = {"copy", "--yes", "--create", from, target_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return test::run_dupengine(arguments);
    }
    std::string qcow2(const std::vector<std::string>& more = {}) {
        std::vector<std::string> argv = {"qemu-img", "convert", "-f", "raw", "-O", "qcow2"};
        argv.insert(argv.end(), more.begin(), more.end());
        const std::string path = scratch_.file("disk.qcow2");
        argv.insert(argv.end(), {source_.path, path});
        test::must_run(argv);
        return path;
    }
    void expect_same() {
        const RunResult result = test::run_dupengine({"verify", source_.path, target_});
        EXPECT_EQ(result.status, 0) << result.out << result.err;
        std::filesystem::remove(target_);
    }

    test::ScratchFolder scratch_;
    test::DiskImage source_;
    std::string target_ = scratch_.file("target.img");
};

TEST_F(ForeignSource, CompressedDisksBecomeTheDisk) {
    for (const char* program : {"gzip", "xz -T1 -0", "zstd -q", "bzip2"}) {
        const std::string packed = scratch_.file("named.anyhow");
        test::must_run({"sh", "-c", fmt::format("{} -c {} >{}", program, source_.path, packed)});
        const RunResult copied = copy(packed);
        EXPECT_EQ(copied.status, 0) << program << ": " << copied.err;
        EXPECT_THAT(copied.out, HasSubstr("unpacked")) << program;
        expect_same();
    }
}

TEST_F(ForeignSource, ACompressedDiskThatIsCutIsRefusedBeforeTheFirstWrite) {
    const std::string packed = scratch_.file("disk.gz");
    test::must_run({"sh", "-c", fmt::format("gzip -1 -c {} | head -c 400000 >{}", source_.path, packed)});
    test::fill_with_old_data(target_, 96 << 20);
    const std::string before = test::file_sha256(target_);
    EXPECT_EQ(copy(packed).status, 4);
    EXPECT_EQ(test::file_sha256(target_), before);
}

TEST_F(ForeignSource, NoRoomToUnpackIsToldAndRefused) {
    const std::string packed = scratch_.file("disk.gz");
    test::must_run({"sh", "-c", fmt::format("gzip -1 -c {} >{}", source_.path, packed)});
    const std::string small = scratch_.file("small");
    std::filesystem::create_directory(small);
    test::must_run({"mount", "-t", "tmpfs", "-o", "size=256K", "tmpfs", small});
    const RunResult result = run_program(
        {"env", "TMPDIR=" + small, test::command(), "copy", "--yes", "--create", packed, target_});
    run_program({"umount", small});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr("TMPDIR"));
    EXPECT_FALSE(std::filesystem::exists(target_));
}

TEST_F(ForeignSource, Qcow2BecomesTheDiskAndNoProgramStays) {
    for (const std::vector<std::string>& options : {std::vector<std::string>{},
                                                    {"-c"},
                                                    {"-o", "compat=0.10"},
                                                    {"-o", "extended_l2=on"},
                                                    {"-o", "compression_type=zstd", "-c"}}) {
        const std::string disk = qcow2(options);
        const RunResult copied = copy(disk);
        EXPECT_EQ(copied.status, 0) << copied.err;
        EXPECT_THAT(copied.out, HasSubstr("qcow2"));
        expect_same();
    }
    const std::string disk = qcow2();
    EXPECT_THAT(test::run_dupengine({"inspect", disk}).out, HasSubstr("ext4"));
    ASSERT_EQ(copy(disk).status, 0);
    EXPECT_EQ(test::run_dupengine({"verify", disk, target_}).status, 0);
    EXPECT_NE(run_program({"pgrep", "-f", "qemu-nbd.*" + scratch_.path()}).status, 0) << "qemu-nbd goes on";
    std::filesystem::remove(target_);
    EXPECT_EQ(copy(disk, {"--source-format=compressed"}).status, 3);
    EXPECT_EQ(copy(disk, {"--source-format=raw"}).status, 0) << "its own bytes";
    EXPECT_EQ(test::run_dupengine({"verify", "--source-format=raw", disk, target_}).status, 0);
}

TEST_F(ForeignSource, Qcow2ThatNamesAnotherFileReadsNothingOfIt) {
    const std::string secret = scratch_.file("secret"), disk = scratch_.file("evil.qcow2");
    std::ofstream(secret) << std::string(1 << 20, 'S');
    const std::string data = scratch_.file("data");
    const std::vector<std::vector<std::string>> traps = {
        {"qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", disk},
        {"qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", disk, "1M"},
        {"qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=" + data + ",data_file_raw=on", disk,
         "1M"}};
    for (const auto& trap : traps) {
        std::filesystem::remove(disk);
        test::must_run(trap);
        const RunResult result = copy(disk);
        EXPECT_EQ(result.status, 3) << result.err;
        EXPECT_FALSE(std::filesystem::exists(target_));
        EXPECT_EQ(test::run_dupengine({"inspect", disk}).status, 3);
    }
}

TEST_F(ForeignSource, DamagedQcow2IsRefused) {
    const std::string disk = qcow2();
    for (const auto part : {4, 3, 2, 1}) {
        std::filesystem::resize_file(disk, std::filesystem::file_size(disk) * part / (part + 1));
        const RunResult result = copy(disk);
        EXPECT_EQ(result.status, 4) << result.err;
    }
    {
        std::fstream file(disk, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(24);
        file.write("\x7f\xff\xff\xff\xff\xff\xff\xff", 8);  // its size
    }
    EXPECT_EQ(copy(disk).status, 4);
    EXPECT_FALSE(std::filesystem::exists(target_));
}

// What qemu-img check takes for whole, and QEMU reads as zeros.
TEST_F(ForeignSource, Qcow2ThatLacksItsEndIsRefused) {
    struct Cut {
        std::vector<std::string> options;
        std::uint64_t bytes;
    };
    for (const auto& [options, bytes] : {Cut{{}, 1}, Cut{{}, 512}, Cut{{}, 60'000}, Cut{{"-c"}, 512},
                                         Cut{{"-c"}, 60'000}, Cut{{"-o", "cluster_size=2M"}, 2'000'000}}) {
        const std::string disk = qcow2(options);
        std::filesystem::resize_file(disk, std::filesystem::file_size(disk) - bytes);
        const RunResult result = copy(disk);
        EXPECT_EQ(result.status, 4) << fmt::format("{} by {}: ", fmt::join(options, " "), bytes)
                                    << result.err;
        EXPECT_FALSE(std::filesystem::exists(target_));
    }
}

// A qemu-img in front of the real one that gives the file's name to another file when it is started, as
// whoever may write in the folder could.
class ExchangedName : public ForeignSource {
  protected:
    RunResult copy_while_exchanged(const std::string& from, const std::string& other) {
        const std::string programs = scratch_.file("programs");
        std::filesystem::create_directory(programs);
        const std::string wrapper = programs + "/qemu-img";
        std::ofstream(wrapper) << "#!/bin/sh\nmv -f " << other << " " << from
                               << "\nPATH=$OLD_PATH exec qemu-img \"$@\"\n";
        std::filesystem::permissions(wrapper, std::filesystem::perms::owner_all);
        const std::string path = std::getenv("PATH");
        return run_program({"env", "OLD_PATH=" + path, "PATH=" + programs + ":" + path, test::command(),
                            "copy", "--yes", "--create", from, target_});
    }
};

TEST_F(ExchangedName, WhatWasOpenedIsCopiedAndNoOtherFile) {
    const std::string disk = qcow2(), evil = scratch_.file("evil.qcow2"), secret = scratch_.file("secret");
    std::ofstream(secret) << std::string(96 << 20, 'S');
    test::must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
                    "data_file=" + secret + ",data_file_raw=on", evil, "96M"});
    std::ofstream(secret) << std::string(96 << 20, 'S');
    const RunResult result = copy_while_exchanged(disk, evil);
    ASSERT_FALSE(std::filesystem::exists(evil)) << "the name was not exchanged";
    EXPECT_EQ(result.status, 0) << result.err;
    expect_same();
}

TEST_F(ForeignSource, Qcow2OfAVirtualMachineIsInUse) {
    const std::string disk = qcow2(), socket = scratch_.file("socket");
    {
        const ChildProgram machine(
            {"qemu-nbd", "--format=qcow2", "--persistent", "--socket=" + socket, disk});
        ASSERT_TRUE(test::becomes([&] { return std::filesystem::exists(socket); }));
        const RunResult result = copy(disk);
        EXPECT_EQ(result.status, 3) << result.err;
        EXPECT_THAT(result.err, HasSubstr("virtual machine"));
    }
    EXPECT_EQ(copy(disk).status, 0);
}

TEST_F(ForeignSource, Qcow2IsReadWhateverItAndTheTemporaryFolderAreCalled) {
    const std::string named = scratch_.file("d\xff,\"\\: file=");
    std::filesystem::rename(qcow2(), named);
    const std::string folder = scratch_.file(std::string(150, 't'));
    std::filesystem::create_directory(folder);
    const RunResult result = run_program(
        {"env", "TMPDIR=" + folder, test::command(), "copy", "--yes", "--create", named, target_});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    expect_same();
}

// A qemu-nbd that does what a script says before it is one.
class OddNbd : public ForeignSource {
  protected:
    OddNbd() {
        std::filesystem::create_directory(scratch_.file("programs"));
        std::filesystem::create_directory(temporary_);
    }
    // Status and time.
    std::pair<int, double> copy_and_interrupt(const std::string& script, const std::string& until,
                                              int signal = SIGINT) {
        const std::string wrapper = scratch_.file("programs/qemu-nbd"), disk = qcow2();
        std::ofstream(wrapper) << "#!/bin/sh\nPATH=${PATH#*:}\n" << script << "\n";
        std::filesystem::permissions(wrapper, std::filesystem::perms::owner_all);
        // timeout(1) passes the signal on.
        auto result = std::async(std::launch::async, [&] {
            return run_program({"env", "TMPDIR=" + temporary_,
                                "PATH=" + scratch_.file("programs") + ":" + std::getenv("PATH"), "sh", "-c",
                                "echo $$ >" + scratch_.file("pid") + "; exec \"$@\"", "-", test::command(),
                                "copy", "--yes", "--create", disk, target_},
                               {.deadline = std::chrono::seconds(200)});
        });
        EXPECT_TRUE(test::becomes([&] { return std::filesystem::exists(until); }));
        ::usleep(300'000);
        const auto begin = std::chrono::steady_clock::now();
        ::kill(std::stoi(read_file(scratch_.file("pid"), Code::kInternal)), signal);
        const int status = result.get().status;
        return {status, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()};
    }
    std::string mark_ = scratch_.file("mark"), temporary_ = scratch_.file("temporary");
};

TEST_F(OddNbd, ThatDoesNotListenYetLeavesNoFolderBehindWhenInterrupted) {
    const auto [status, seconds] = copy_and_interrupt("echo >" + mark_ + "; sleep 100", mark_);
    EXPECT_NE(status, 0);
    EXPECT_LT(seconds, 30);
    EXPECT_TRUE(std::filesystem::is_empty(temporary_));
}

TEST_F(OddNbd, OfAKilledCopyLeavesAFolderThatTheNextOneRemoves) {
    copy_and_interrupt("echo >" + mark_ + "; sleep 100", mark_, SIGKILL);
    EXPECT_FALSE(std::filesystem::is_empty(temporary_)) << "the test shows nothing";
    const RunResult next = run_program(
        {"env", "TMPDIR=" + temporary_, test::command(), "copy", "--yes", "--create", qcow2(), target_});
    EXPECT_EQ(next.status, 0) << next.err;
    EXPECT_TRUE(std::filesystem::is_empty(temporary_));
}

TEST_F(OddNbd, ThatStandsStillDoesNotHoldAnInterruptedCopy) {
    source_.path = scratch_.file("large");
    test::must_run({"sh", "-c", "head -c 150M /dev/urandom >" + source_.path});
    // Stopped as soon as the copy has begun: no socket any more, and SIGINT is waited for.
    const auto [status, seconds] = copy_and_interrupt(
        fmt::format("(while ! [ -e \"$TMPDIR\"/* ]; do :; done; while [ -e \"$TMPDIR\"/* ]; do :; done\n"
                    "while ! grep -q '^SigBlk:.*[2367abef]$' /proc/$(cat {})/status; do :; done\n"
                    "kill -STOP $$; echo >{}) &\nexec qemu-nbd \"$@\"",
                    scratch_.file("pid"), mark_),
        mark_);
    EXPECT_EQ(status, 10);
    EXPECT_LT(seconds, 30);
}

TEST_F(ForeignSource, WithoutItsProgramQcow2IsUnsupported) {
    const std::string disk = qcow2();
    const RunResult result = run_program({"unshare", "-m", "sh", "-c",
                                          "mount --bind /dev/null \"$(command -v qemu-nbd)\" && exec \"$@\"",
                                          "-", test::command(), "copy", "--yes", "--create", disk, target_});
    EXPECT_EQ(result.status, 9) << result.err;
    EXPECT_THAT(result.err, HasSubstr("qemu-utils"));
}

TEST_F(ForeignSource, IsCapturedLikeAnyOther) {
    const std::string disk = qcow2(), tar = scratch_.file("image.tar");
    ASSERT_EQ(test::run_dupengine({"copy", disk, "image:" + tar}).status, 0);
    ASSERT_EQ(copy("image:" + tar, {"--insecure"}).status, 0);
    expect_same();
}

}  // namespace
}  // namespace dupengine
