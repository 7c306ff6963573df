// An interruption while resize2fs runs: the disk is plainly unfinished, nothing runs on, and the next run
// completes it.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/disk_image.h"
#include "tests/support/paths.h"

namespace dupengine {
namespace {

using test::must_run;
using test::ScratchFolder;

constexpr std::uint64_t kLarger = 128 << 20;

// In front of the real one in PATH: writes its process number, and does not end.
std::string folder_of_endless_resize2fs(const ScratchFolder& folder) {
    const std::string bin = folder.file("bin");
    std::filesystem::create_directories(bin);
    std::ofstream(bin + "/resize2fs")
        << "#!/bin/sh\necho $$ > '" << folder.file("started") << "'\nexec sleep 300\n";
    std::filesystem::permissions(bin + "/resize2fs", std::filesystem::perms::owner_all);
    return bin;
}

void interrupt_while_growing(const ScratchFolder& folder, const std::string& source,
                             const std::string& target) {
    const std::string bin = folder_of_endless_resize2fs(folder), started = folder.file("started");
    const RunResult result = run_program(
        {"env", "N=" + started, "S=" + source, "T=" + target, fmt::format("D={}", test::command()),
         "B=" + bin, "sh", "-c",
         "env PATH=\"$B:$PATH\" \"$D\" copy --yes --json --progress=none --grow \"$S\" \"$T\" & copy=$!; "
         "for i in $(seq 600); do [ -s \"$N\" ] && break; sleep 0.05; done; kill -TERM $copy; wait $copy"});
    EXPECT_EQ(result.status, 10) << result.err;
    EXPECT_NE(result.err.find("while the filesystem grew; run the same command again"), std::string::npos)
        << result.err;
    std::string process;
    std::ifstream(started) >> process;
    ASSERT_FALSE(process.empty()) << "resize2fs was never reached: the test showed nothing";
    EXPECT_FALSE(std::filesystem::exists("/proc/" + process)) << "it goes on writing";
    EXPECT_EQ(must_run({"losetup", "--associated", target}), "") << "a loop device was left";
    std::filesystem::remove(started);
    const auto seen = nlohmann::json::parse(test::run_dupengine({"inspect", "--json", target}).out);
    EXPECT_TRUE(seen["incomplete"].is_object()) << "a half-grown filesystem looks complete";
}

TEST(CopyGrow, AnInterruptionIsPlainlyUnfinishedAndTheNextRunCompletes) {
    const ScratchFolder folder;
    const test::DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    interrupt_while_growing(folder, source.path, target);
    EXPECT_EQ(run_program({"blkid", "-p", "-s", "PTTYPE", target}).out, "");
    const RunResult again = test::run_dupengine({"copy", "--yes", "--grow", source.path, target});
    EXPECT_EQ(again.status, 0) << again.err;
    EXPECT_NE(must_run({"sgdisk", "-v", target}).find("No problems found"), std::string::npos);
}

// The disk loses what resize2fs wrote, and the machine's memory still holds it.
TEST(CopyGrow, WhatGrowingWroteIsCheckedAsTheMediumHoldsIt) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 32 << 20), bin = folder.file("bin");
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", source});
    const std::string target = folder.sparse_file("target.img", kLarger);
    const test::LoopDevice loop(target);
    std::filesystem::create_directories(bin);
    // The root folder's inode, in the file below the device.
    std::ofstream(bin + "/resize2fs")
        << "#!/bin/sh\nset -e\n/sbin/resize2fs \"$@\"\nblockdev --flushbufs \"$1\"\nsync '" << loop.path()
        << "'\ntable=$(dumpe2fs '" << target
        << "' 2>/dev/null | sed -n 's/.*Inode table at \\([0-9]*\\).*/\\1/p' | head -1)\n"
        << "block=$(dumpe2fs -h '" << target << "' 2>/dev/null | sed -n 's/^Block size: *//p')\n"
        << "dd if=/dev/zero of='" << target
        << "' bs=$block seek=$table count=1 conv=notrunc status=none\ntouch '" << folder.file("lost")
        << "'\n";
    std::filesystem::permissions(bin + "/resize2fs", std::filesystem::perms::owner_all);
    RunOptions options;
    options.extra_environment = {"PATH=" + bin + ":" + std::getenv("PATH")};
    const RunResult result = test::run_dupengine({"copy", "--yes", "--grow", source, loop.path()}, options);
    EXPECT_TRUE(std::filesystem::exists(folder.file("lost"))) << "nothing was lost: the test showed nothing";
    EXPECT_EQ(result.status, 5) << result.err;
    EXPECT_NE(result.err.find("growing the ext4: e2fsck:"), std::string::npos) << result.err;
}

TEST(CopyGrow, TheSameOfAFilesystemWithoutATable) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 32 << 20);
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", source});
    const std::string target = folder.sparse_file("target.img", kLarger);
    interrupt_while_growing(folder, source, target);
    EXPECT_EQ(run_program({"blkid", "-p", "-s", "TYPE", target}).out, "");
    const RunResult again = test::run_dupengine({"copy", "--yes", "--grow", source, target});
    EXPECT_EQ(again.status, 0) << again.err;
    EXPECT_EQ(run_program({"e2fsck", "-fn", target}).status, 0);
}

}  // namespace
}  // namespace dupengine
