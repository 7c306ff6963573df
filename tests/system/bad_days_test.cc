// Copies that go wrong half-way: killed, full, unreadable, unwritable, damaged.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/filesystems.h"
#include "tests/support/paths.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::DiskImage;
using test::must_run;
using test::ScratchFolder;

constexpr std::uint64_t kLarger = 128 << 20;

std::string table_type(const std::string& disk) {
    return run_program({"blkid", "-p", "-s", "PTTYPE", "-o", "value", disk}).out;
}

bool is_complete(const ScratchFolder& folder, const DiskImage& source, const std::string& target) {
    const std::string part = folder.file("part.img");
    test::extract_range(target, source.root, part);
    const bool sound = run_program({"e2fsck", "-fn", part}).status == 0;
    std::filesystem::remove(part);
    return sound && must_run({"sgdisk", "-v", target}).find("No problems found") != std::string::npos;
}

TEST(BadDays, AKilledCopyIsNoDiskAndTheNextRunCompletesIt) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    int killed_half_way = 0;
    // The rate gives it some time between its first write and its last.
    for (int delay_ms = 4; delay_ms < 3000 && killed_half_way < 4; delay_ms += delay_ms / 3) {
        const std::string target = folder.sparse_file("target.img", kLarger);
        test::fill_with_old_data(target, kLarger);
        must_run({"sgdisk", "--clear", "--new=128:120M:+4M",
                  "--typecode=128:d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972", "--new=1:1M:+20M", target});
        const std::string profile = folder.file("profile");
        test::extract_range(target, {120 * kMiB, 124 * kMiB}, profile);
        const std::string profile_before = test::file_sha256(profile);
        run_program({"timeout", "-s", "KILL", fmt::format("{}.{:03}", delay_ms / 1000, delay_ms % 1000),
                     test::command(), "copy", "--yes", "--progress=none", "--rate=30M", source.path, target});
        const std::string type = table_type(target);
        const bool old_disk =
            type == "gpt\n" && must_run({"sgdisk", "-p", target}).find("20.0 MiB") != std::string::npos;
        const bool no_disk = type.empty();
        EXPECT_TRUE(old_disk || no_disk || is_complete(folder, source, target))
            << "after " << delay_ms << " ms: " << type;
        if (no_disk) ++killed_half_way;
        // Nobody says again what is to be kept: the mark does.
        const RunResult second = test::run_dupengine({"copy", "--yes", "--json", source.path, target});
        ASSERT_EQ(second.status, 0) << second.err;
        if (no_disk) {
            EXPECT_TRUE(json::parse(second.out)["plan"]["delta"]) << "what was written is written again";
        }
        EXPECT_TRUE(is_complete(folder, source, target));
        test::extract_range(target, {120 * kMiB, 124 * kMiB}, profile);
        EXPECT_EQ(test::file_sha256(profile), profile_before) << "the profile changed";
    }
    EXPECT_GT(killed_half_way, 0) << "no kill hit the copy itself: the test showed nothing";
}

TEST(BadDays, AnInterruptIsAnswered10AndTheTargetIsMarked) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    bool seen = false;
    for (int delay_ms = 10; delay_ms < 6000 && !seen;  // long: a build with sanitizers on a busy machine
         delay_ms += delay_ms / 3) {
        const std::string target = folder.sparse_file("target.img", kLarger);
        test::fill_with_old_data(target, kLarger);
        const RunResult result =
            run_program({"timeout", "--preserve-status", "-s", "INT",
                         fmt::format("{}.{:03}", delay_ms / 1000, delay_ms % 1000), test::command(), "copy",
                         "--yes", "--progress=none", source.path, target});
        if (result.status != 10) continue;
        seen = true;
        EXPECT_NE(result.err.find("run the same command again"), std::string::npos) << result.err;
        const json seen_by_inspect = json::parse(test::run_dupengine({"inspect", "--json", target}).out);
        EXPECT_TRUE(seen_by_inspect["incomplete"].is_object());
    }
    EXPECT_TRUE(seen) << "no interrupt hit the copy itself: the test showed nothing";
}

TEST(BadDays, ATargetFileThatFillsItsFilesystemIsTheTargetsFault) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string small = folder.file("small");
    std::filesystem::create_directories(small);
    must_run({"mount", "-t", "tmpfs", "-o", "size=6M", "none", small});
    const std::string target = small + "/target.img";
    must_run({"truncate", "-s", std::to_string(kLarger), target});
    const RunResult result = test::run_dupengine({"copy", "--yes", source.path, target});
    EXPECT_EQ(result.status, 5) << result.err;
    EXPECT_NE(result.err.find("No space left"), std::string::npos) << result.err;
    EXPECT_EQ(table_type(target), "") << "a full target passes for a disk";
    must_run({"umount", small});
}

TEST(BadDays, ASourceThatCannotBeReadIsTheSourcesFault) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const test::FaultyDisk faulty(folder, source.path,
                                  {.sector = (source.root.begin + 8192) / 512, .on_read = true});
    const std::string target = folder.sparse_file("target.img", kLarger);
    const RunResult result = test::run_dupengine({"copy", "--yes", faulty.path(), target});
    EXPECT_EQ(result.status, 4) << result.err;
    EXPECT_NE(result.err.find("Input/output error"), std::string::npos) << result.err;
    EXPECT_EQ(table_type(target), "");
}

// Runs a slow copy, and `meanwhile` (shell) when the target has got its first megabyte; $copy is the copy's
// process.
RunResult copy_and_meanwhile(const std::string& source, const std::string& target,
                             const std::string& meanwhile) {
    const std::string script = fmt::format(
        "{} copy --yes --rate=8M {} {} & copy=$!\n"
        "while [ $(stat -c %b {}) -lt 2048 ] && kill -0 $copy; do sleep 0.02; done\n{}\nwait $copy",
        test::command(), source, target, target, meanwhile);
    return run_program({"bash", "-c", script});
}

// Half of the one and half of the other is a copy of neither.
TEST(BadDays, ASourceThatIsWrittenMeanwhileIsNeverCalledACopy) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    const RunResult result =
        copy_and_meanwhile(source.path, target,
                           fmt::format("printf x | dd of={} bs=1 seek={} conv=notrunc status=none",
                                       source.path, source.root.begin + 5 * kMiB));
    EXPECT_EQ(result.status, 6) << result.err;
    EXPECT_NE(result.err.find("was written while it was copied"), std::string::npos) << result.err;
    EXPECT_EQ(table_type(target), "");
}

TEST(BadDays, ASourceDeviceCannotBeMountedWhileItIsCopied) {
    const ScratchFolder folder;
    const std::string image = folder.sparse_file("ext.img", 64 * kMiB),
                      target = folder.sparse_file("target.img", 64 * kMiB);
    must_run({"mke2fs", "-q", "-t", "ext4", "-d", "/usr/include/linux", image});
    const test::LoopDevice source(image);
    const std::string place = folder.file("mount");
    std::filesystem::create_directory(place);
    const std::string mount =
        fmt::format("mount {} {} && umount {} && echo MOUNTED >&2", source.path(), place, place);
    const RunResult result = copy_and_meanwhile(source.path(), target, mount);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err.find("MOUNTED"), std::string::npos) << result.err;
    EXPECT_EQ(run_program({"sh", "-c", mount}).status, 0)
        << "it cannot be mounted at all: the test showed nothing";
}

// A program needs no mount to write to a disk.
TEST(BadDays, ASourceDeviceThatIsWrittenMeanwhileIsNeverCalledACopy) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const test::LoopDevice loop(source.path);
    const std::string target = folder.sparse_file("target.img", kLarger);
    const Fd writer = open_path(loop.path(), O_RDWR, Code::kInternal);
    // What was written before is only in the page cache when the copy begins: no change of its source.
    pwrite_exact(writer.get(), source.root.begin + 5 * kMiB, Bytes(4096, std::byte{1}), Code::kInternal,
                 "loop");
    const RunResult quiet = copy_and_meanwhile(loop.path(), target, "");
    EXPECT_EQ(quiet.status, 0) << quiet.err;
    for (const std::string& path : {loop.path(), source.path}) {
        const std::string write = fmt::format("printf x | dd of={} bs=1 seek={} conv=notrunc status=none",
                                              path, source.root.begin + 5 * kMiB);
        must_run({"rm", target});
        const std::string again = folder.sparse_file("target.img", kLarger);
        const RunResult result = copy_and_meanwhile(loop.path(), again, write);
        EXPECT_EQ(result.status, 6) << path << ": " << result.err;
        EXPECT_NE(result.err.find("was written while it was copied"), std::string::npos) << result.err;
        EXPECT_EQ(table_type(again), "");
    }
}

TEST(BadDays, ASourceThatOthersMayWriteUnseenIsNamedInThePlan) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    const test::LoopDevice loop(source.path);
    const std::string note = "nothing would show that " + loop.path() + " is written";
    const auto plan = [&] { return test::run_dupengine({"copy", "--dry-run", loop.path(), target}).out; };
    const Fd held = open_path(loop.path(), O_RDONLY | O_EXCL, Code::kInternal);
    EXPECT_EQ(plan().find(note), std::string::npos) << "its writes are counted";
    std::filesystem::remove(source.path);  // whoever writes to the file below shows nowhere
    EXPECT_NE(plan().find(note), std::string::npos);
}

TEST(BadDays, AClosedTerminalIsARequestToStop) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    const RunResult result = copy_and_meanwhile(source.path, target, "kill -HUP $copy");
    EXPECT_EQ(result.status, 10) << result.err;
    EXPECT_NE(result.err.find("stopped on request"), std::string::npos) << result.err;
    EXPECT_EQ(table_type(target), "");
}

TEST(BadDays, ADyingSourceIsSavedButForTheFilesThatAreNamed) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string root = folder.file("root.img"), lost = "/usr/bin/file-7";
    test::extract_range(source.path, source.root, root);
    const std::uint64_t block = std::stoull(test::must_run({"debugfs", "-R", "blocks " + lost, root}));
    const ByteOffset bad = source.root.begin + block * test::dumpe2fs_number(root, "Block size");
    const test::FaultyDisk faulty(folder, source.path, {.sector = bad / 512, .on_read = true});
    const std::string target = folder.sparse_file("target.img", kLarger);

    const RunResult refused = test::run_dupengine({"copy", "--yes", faulty.path(), target});
    EXPECT_EQ(refused.status, 4) << refused.err;
    EXPECT_NE(refused.err.find(lost), std::string::npos) << refused.err;
    EXPECT_EQ(table_type(target), "");

    const RunResult saved =
        test::run_dupengine({"copy", "--yes", "--json", "--tolerate-bad-sectors", faulty.path(), target});
    EXPECT_EQ(saved.status, 0) << saved.err;
    const json report = json::parse(saved.out);
    EXPECT_EQ(report["result"], "bad sectors");
    ASSERT_EQ(report["bad_sectors"].size(), 1u);
    EXPECT_LE(report["bad_sectors"][0]["bytes"], 4096);
    const std::string files = report["bad_sectors"][0]["files"].dump();
    EXPECT_NE(files.find(lost + '"'), std::string::npos) << files;
    EXPECT_EQ(table_type(target), "gpt\n");
}

TEST(BadDays, AFilesystemWhoseSuperblockCannotBeReadIsSavedWhole) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const test::FaultyDisk faulty(folder, source.path,
                                  {.sector = (source.root.begin + 1024) / 512, .on_read = true});
    const std::string target = folder.sparse_file("target.img", kLarger);
    EXPECT_EQ(test::run_dupengine({"copy", "--yes", faulty.path(), target}).status, 4);
    const RunResult saved =
        test::run_dupengine({"copy", "--yes", "--json", "--tolerate-bad-sectors", faulty.path(), target});
    ASSERT_EQ(saved.status, 0) << saved.err;
    const json report = json::parse(saved.out);
    EXPECT_EQ(report["result"], "bad sectors");
    EXPECT_GE(report["bytes_used"], source.root.size()) << "the filesystem was not copied whole";
}

TEST(BadDays, ATargetThatCannotBeWrittenIsTheTargetsFault) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    // Once in the data, once where the mark goes, once in the table: never a success, never a disk.
    for (const std::uint64_t sector :
         {(source.root.begin + 4096) / 512, std::uint64_t{2}, kLarger / 512 - 1}) {
        const test::FaultyDisk faulty(folder, target, {.sector = sector, .on_write = true});
        const RunResult result = test::run_dupengine({"copy", "--yes", source.path, faulty.path()});
        EXPECT_EQ(result.status, 5) << "sector " << sector << ": " << result.err;
        EXPECT_EQ(table_type(target), "") << "sector " << sector;
    }
}

TEST(BadDays, ADamagedTableOfTheSourceIsOneLine) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::uint64_t size = std::filesystem::file_size(source.path);
    const Fd fd = open_path(source.path, O_RDWR, Code::kInternal);
    const Bytes garbage(16, std::byte{0x5A});
    const std::string target = folder.sparse_file("target.img", kLarger);
    pwrite_exact(fd.get(), 512 + 24, garbage, Code::kInternal, "primary header");
    const RunResult half = test::run_dupengine({"copy", "--yes", source.path, target});
    EXPECT_EQ(half.status, 0) << "the backup table was not used: " << half.err;
    pwrite_exact(fd.get(), size - 512 + 24, garbage, Code::kInternal, "backup header");
    const RunResult none = test::run_dupengine({"copy", "--yes", source.path, target});
    EXPECT_EQ(none.status, 4) << none.err;
    EXPECT_EQ(std::count(none.err.begin(), none.err.end(), '\n'), 1) << none.err;
}

TEST(BadDays, ADamagedFilesystemIsCopiedWholeAndSaid) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const Fd fd = open_path(source.path, O_RDWR, Code::kInternal);
    // The superblock keeps its magic, but says that it has 4 billion blocks.
    pwrite_exact(fd.get(), source.root.begin + 1024 + 4, Bytes(4, std::byte{0xFF}), Code::kInternal,
                 "superblock");
    const std::string target = folder.sparse_file("target.img", kLarger);
    const RunResult result = test::run_dupengine({"copy", "--yes", "--json", source.path, target});
    ASSERT_EQ(result.status, 0) << result.err;
    const json report = json::parse(result.out);
    EXPECT_TRUE(report["plan"]["partitions"][2]["whole"]);
    EXPECT_NE(report["plan"]["partitions"][2]["whole_reason"], "");
    EXPECT_EQ(run_program({"cmp", "-i", std::to_string(source.root.begin), "-n",
                           std::to_string(source.root.size()), source.path, target})
                  .status,
              0);
}

TEST(BadDays, ATruncatedImageIsRefusedInOneLine) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    ASSERT_EQ(::truncate(source.path.c_str(), 60 << 20), 0);
    const std::string target = folder.sparse_file("target.img", kLarger);
    const RunResult result = test::run_dupengine({"copy", "--yes", source.path, target});
    EXPECT_TRUE(result.status == 3 || result.status == 4) << result.status << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
}

}  // namespace
}  // namespace dupengine
