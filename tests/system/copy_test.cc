// `dupengine copy` on files and loop devices, held against the field's own programs.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/fd.h"
#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using block::Extent;
using nlohmann::json;
using test::DiskImage;
using test::LoopDevice;
using test::ScratchFolder;

constexpr std::uint64_t kLarger = 128 << 20;

json copy(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"copy", "--json", "--yes"});
    const RunResult result = test::run_dupengine(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
}

void expect_sound_filesystem(const ScratchFolder& folder, const std::string& disk, Extent root) {
    const std::string part = folder.file("part.img");
    test::extract_range(disk, root, part);
    const RunResult fsck = run_program({"e2fsck", "-fn", part});
    EXPECT_EQ(fsck.status, 0) << fsck.out;
    std::filesystem::remove(part);
}

// Files of both filesystems are the same, and nothing that was deleted or stood on the target before is
// there.
void expect_same_system(const ScratchFolder& folder, const DiskImage& source, const std::string& target) {
    const std::string from = folder.file("from.img"), to = folder.file("to.img");
    test::extract_range(source.path, source.root, from);
    test::extract_range(target, source.root, to);
    EXPECT_EQ(test::ext_tree_digest(folder, from), test::ext_tree_digest(folder, to));
    test::extract_range(source.path, source.esp, from);
    test::extract_range(target, source.esp, to);
    EXPECT_EQ(test::fat_tree_digest(folder, from), test::fat_tree_digest(folder, to));
    EXPECT_EQ(run_program({"fsck.fat", "-n", to}).status, 0);
    std::filesystem::remove(from);
    std::filesystem::remove(to);
    expect_sound_filesystem(folder, target, source.root);
    EXPECT_FALSE(test::file_contains(target, test::kDeletedText)) << "deleted files travelled";
    EXPECT_FALSE(test::file_contains(target, test::kOldText)) << "the target's old data shines through";
}

std::string sgdisk_verdict(const std::string& disk, std::uint32_t sector_bytes = 512) {
    LoopDevice::Options options;
    options.sector_bytes = sector_bytes;
    const LoopDevice loop(disk, options);
    return test::must_run({"sgdisk", "-v", loop.path()});
}

struct CopyEnds {
    bool source_is_device, target_is_device;
};

class CopyOf : public testing::TestWithParam<CopyEnds> {};

TEST_P(CopyOf, ASystemDiskIsTheSameSystemOnALargerDisk) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    test::fill_with_old_data(target, kLarger);
    ASSERT_TRUE(test::file_contains(source.path, test::kDeletedText)) << "the test has nothing to show";
    const std::string source_before = test::file_sha256(source.path);
    json report;
    {
        std::optional<LoopDevice> from, to;
        if (GetParam().source_is_device) from.emplace(source.path, LoopDevice::Options{.read_only = true});
        if (GetParam().target_is_device) to.emplace(target);
        report = copy({from ? from->path() : source.path, to ? to->path() : target, "--verify=all"});
    }
    EXPECT_EQ(test::file_sha256(source.path), source_before) << "the source was written";
    EXPECT_EQ(report["result"], "verified");
    EXPECT_LT(report["bytes_read"], 60u << 20);
    EXPECT_EQ(report["bytes_verified"], kLarger) << "not every byte was read back";
    EXPECT_NE(sgdisk_verdict(target).find("No problems found"), std::string::npos) << sgdisk_verdict(target);
    EXPECT_EQ(test::must_run({"blkid", "-p", "-s", "PTUUID", "-o", "value", target}),
              source.disk_guid + "\n");
    expect_same_system(folder, source, target);
}

INSTANTIATE_TEST_SUITE_P(Ends, CopyOf,
                         testing::Values(CopyEnds{false, false}, CopyEnds{true, false}, CopyEnds{false, true},
                                         CopyEnds{true, true}),
                         [](const auto& ends) {
                             return fmt::format("{}To{}", ends.param.source_is_device ? "Device" : "File",
                                                ends.param.target_is_device ? "Device" : "File");
                         });

TEST(Copy, WhatASparseImageDoesNotStoreIsNeitherReadNorWritten) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 8 * kGiB);
    test::must_run({"sgdisk", "--new=1:1M:0", source});
    test::must_run({"sh", "-c", "printf data | dd of=" + source + " bs=1 seek=3G conv=notrunc status=none"});
    const std::string target = folder.sparse_file("target.img", 8 * kGiB);
    const json report = copy({source, target});
    EXPECT_LT(report["bytes_read"], 8u << 20);
    EXPECT_LT(report["plan"]["bytes_to_copy"], 8u << 20) << "the plan promises work that there is not";
    EXPECT_EQ(test::must_run({"cmp", "--bytes=4294967296", "--ignore-initial=1048576", source, target}), "");
}

TEST(Copy, ASecondCopyWritesOnlyWhatChangedAndStillVerifiesAll) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const LoopDevice target(folder.sparse_file("target.img", kLarger));
    const json first = copy({source.path, target.path()});
    EXPECT_FALSE(first["plan"]["delta"]);
    EXPECT_GE(first["bytes_verified"], first["bytes_used"]);
    const json second = copy({source.path, target.path()});
    EXPECT_TRUE(second["plan"]["delta"]);
    EXPECT_GE(second["bytes_verified"], second["bytes_used"]);
    EXPECT_LT(second["bytes_written"], 1u << 20) << "only marks and tables";
    EXPECT_GT(second["bytes_equal"], second["bytes_used"].get<std::uint64_t>() - (1u << 20));
}

TEST(Copy, GrowingFillsTheLargerDisk) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    const json report = copy({source.path, target, "--grow"});
    const Extent grown{source.root.begin,
                       report["plan"]["grow"]["to_bytes"].get<std::uint64_t>() + source.root.begin};
    EXPECT_GT(grown.end, kLarger - 2 * kMiB);
    EXPECT_NE(sgdisk_verdict(target).find("No problems found"), std::string::npos);
    expect_sound_filesystem(folder, target, grown);
    const std::string part = folder.file("root.img");
    test::extract_range(target, grown, part);
    const std::string super = test::must_run({"dumpe2fs", "-h", part});
    EXPECT_NE(super.find(fmt::format("Block count:              {}", grown.size() / 1024)), std::string::npos)
        << super;
}

TEST(Copy, DisksOf4096ByteSectorsWorkToo) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img", {.sector_bytes = 4096});
    const std::string target = folder.sparse_file("target.img", kLarger);
    test::fill_with_old_data(target, kLarger);
    {
        LoopDevice::Options options;
        options.sector_bytes = 4096;
        const LoopDevice from(source.path, options), to(target, options);
        copy({from.path(), to.path()});
    }
    EXPECT_NE(sgdisk_verdict(target, 4096).find("No problems found"), std::string::npos);
    expect_same_system(folder, source, target);
}

TEST(Copy, ABareFilesystemIsCopiedToABareDevice) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string root = folder.file("root-part.img");
    test::extract_range(source.path, source.root, root);
    const std::string target = folder.sparse_file("target.img", kLarger);
    test::fill_with_old_data(target, kLarger);
    copy({root, target, "--grow"});
    EXPECT_EQ(run_program({"e2fsck", "-fn", target}).status, 0);
    EXPECT_EQ(test::ext_tree_digest(folder, root), test::ext_tree_digest(folder, target));
    EXPECT_FALSE(test::file_contains(target, test::kOldText));
}

TEST(Copy, AnMbrDiskKeepsItsBootCodeItsGapAndItsLogicalPartitions) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 96 << 20);
    test::must_run({"sfdisk", "--quiet", source},
                   {.input = "label: dos\n2048,20480,c,*\n22528,131072,5\n24576,20480,83\n47104,20480,82\n"});
    const Fd fd = open_path(source, O_RDWR, Code::kInternal);
    pwrite_exact(fd.get(), 0, Bytes(440, std::byte{0x90}), Code::kInternal, source);
    pwrite_exact(fd.get(), 512, Bytes(30'000, std::byte{0x91}), Code::kInternal,
                 source);  // GRUB's core image
    const std::string target = folder.sparse_file("target.img", kLarger);
    test::fill_with_old_data(target, kLarger);
    copy({source, target});
    const auto dump = [](const std::string& disk) { return test::must_run({"sfdisk", "--json", disk}); };
    json from = json::parse(dump(source)), to = json::parse(dump(target));
    for (json* table : {&from, &to})
        for (auto& p : (*table)["partitiontable"]["partitions"])
            p.erase("node");
    EXPECT_EQ(from["partitiontable"]["partitions"], to["partitiontable"]["partitions"]);
    EXPECT_EQ(from["partitiontable"]["id"], to["partitiontable"]["id"]);
    EXPECT_EQ(run_program({"cmp", "-n", "1048576", source, target}).status, 0) << "boot code or gap differ";
    EXPECT_FALSE(test::file_contains(target, test::kOldText));
}

TEST(Copy, ADryRunDrawsThePlanAndWritesNothing) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    test::fill_with_old_data(target, kLarger);
    const std::string before = test::file_sha256(target);
    const RunResult result = test::run_dupengine({"copy", "--dry-run", source.path, target});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("ext4"), std::string::npos);
    EXPECT_NE(result.out.find("the target afterwards"), std::string::npos);
    EXPECT_EQ(test::file_sha256(target), before);
    const json plan =
        json::parse(test::run_dupengine({"copy", "--dry-run", "--json", source.path, target}).out);
    EXPECT_EQ(plan["result"], "planned");
    EXPECT_EQ(plan["plan"]["partitions"].size(), 3u);
}

TEST(Copy, HolesAndZerosCostNothingInATargetFile) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.file("new.img");
    const json report = copy({"--create", source.path, target});
    EXPECT_EQ(report["result"], "verified");
    const auto blocks = [](const std::string& path) {
        return std::stoull(test::must_run({"stat", "-c", "%b", path})) * 512;
    };
    EXPECT_LE(blocks(target), blocks(source.path));
    expect_same_system(folder, source, target);
}

TEST(Copy, AnImageOf4096ByteSectorsIsCopiedToAFile) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img", {.sector_bytes = 4096});
    const std::string target = folder.sparse_file("target.img", kLarger);
    copy({source.path, target});
    EXPECT_NE(sgdisk_verdict(target, 4096).find("No problems found"), std::string::npos);
    expect_same_system(folder, source, target);
}

TEST(Copy, AFileThatEndsInTheMiddleOfASectorArrivesWhole) {
    const ScratchFolder folder;
    const std::string source = folder.file("odd.img"), target = folder.sparse_file("target.img", 1 << 20);
    test::fill_with_old_data(source, 500'001);
    copy({source, target});
    EXPECT_EQ(run_program({"cmp", "-n", "500001", source, target}).status, 0);
    const std::string exact = folder.sparse_file("exact.img", 500'001);
    copy({source, exact});
    EXPECT_EQ(run_program({"cmp", source, exact}).status, 0);
}

TEST(Copy, UnusedSpaceStaysWhenAsked) {
    const ScratchFolder folder;
    const DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", kLarger);
    test::fill_with_old_data(target, kLarger);
    copy({source.path, target, "--unused=keep"});
    EXPECT_TRUE(test::file_contains(target, test::kOldText));
    expect_sound_filesystem(folder, target, source.root);
}

}  // namespace
}  // namespace dupengine
