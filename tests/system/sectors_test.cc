// A disk of 512-byte sectors onto one of 4096 and back, on loop devices, held against fsck.fat, e2fsck,
// xfs_repair, sgdisk and the files themselves; and what is refused without a byte written.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"
#include "tests/support/lvm_disk.h"

namespace dupengine {
namespace {

using test::LoopDevice;
using test::must_run;
using test::ScratchFolder;
using ::testing::HasSubstr;

constexpr std::uint64_t kDisk = 900 * kMiB;

LoopDevice::Options sectors(std::uint32_t bytes) {
    LoopDevice::Options options;
    options.sector_bytes = bytes;
    return options;
}

LoopDevice::Options part_of(const block::Extent& extent, std::uint32_t bytes = 512) {
    LoopDevice::Options options = sectors(bytes);
    options.offset_bytes = extent.begin;
    options.size_bytes = extent.size();
    return options;
}

// As an installer makes it on a disk of 512-byte sectors: the last partition ends with the last usable
// sector, within a sector of 4096.
struct Disk {
    std::string path;
    block::Extent esp{kMiB, 301 * kMiB}, swap{301 * kMiB, 309 * kMiB}, data{309 * kMiB, 629 * kMiB},
        root{629 * kMiB, kDisk - 33 * 512};
};

void fill_esp(const ScratchFolder& folder, const std::string& device) {
    std::ofstream(folder.file("kernel")) << std::string(700'000, 'k');
    std::ofstream(folder.file("loader.conf")) << "timeout 1\n";
    must_run({"mmd", "-i", device, "::/EFI", "::/loader"});
    must_run({"mcopy", "-i", device, folder.file("kernel"), "::/EFI/kernel"});
    must_run({"mcopy", "-i", device, folder.file("loader.conf"), "::/loader/loader.conf"});
}

Disk make_disk(const ScratchFolder& folder, const std::vector<std::string>& mkfs_fat,
               const std::string& xfs_sectors = "4096") {
    Disk disk;
    disk.path = folder.sparse_file("source.img", kDisk);
    must_run({"sgdisk", "--new=1:1M:+300M", "--typecode=1:ef00", "--new=2:0:+8M", "--typecode=2:8200",
              "--new=3:0:+320M", "--set-alignment=1", "--new=4:0:0", "--change-name=4:root", disk.path});
    std::vector<std::string> fat = {"mkfs.fat", "-n", "ESP"};
    fat.insert(fat.end(), mkfs_fat.begin(), mkfs_fat.end());
    const LoopDevice esp(disk.path, part_of(disk.esp)), swap(disk.path, part_of(disk.swap)),
        data(disk.path, part_of(disk.data)), root(disk.path, part_of(disk.root));
    fat.push_back(esp.path());
    must_run(fat);
    fill_esp(folder, esp.path());
    must_run({"mkswap", "-q", swap.path()});
    must_run({"mkfs.xfs", "-q", "-s", "size=" + xfs_sectors, data.path()});
    must_run({"mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", make_tree(folder, "tree", 1), root.path()});
    return disk;
}

std::string fat_files(const ScratchFolder& folder, const std::string& image, block::Extent extent) {
    test::extract_range(image, extent, folder.file("esp.img"));
    return test::fat_tree_digest(folder, folder.file("esp.img"));
}

std::string ext_files(const ScratchFolder& folder, const std::string& image, block::Extent extent) {
    test::extract_range(image, extent, folder.file("ext.img"));
    return test::ext_tree_digest(folder, folder.file("ext.img"));
}

void expect_good_disk(const ScratchFolder& folder, const Disk& disk, const std::string& image,
                      std::uint32_t sector) {
    block::Extent last = disk.root;
    last.end = align_down(last.end, 4096);
    {
        const LoopDevice whole(image, sectors(sector));
        EXPECT_THAT(must_run({"sgdisk", "-v", whole.path()}), HasSubstr("No problems found"));
        EXPECT_THAT(must_run({"sgdisk", "-i", "4", whole.path()}), HasSubstr("Partition name: 'root'"));
        const LoopDevice esp(image, part_of(disk.esp, sector)), data(image, part_of(disk.data, sector)),
            root(image, part_of(last, sector));
        const RunResult fat = run_program({"fsck.fat", "-n", esp.path()});
        EXPECT_EQ(fat.status, 0) << fat.out;
        EXPECT_EQ(run_program({"e2fsck", "-fn", root.path()}).status, 0);
        EXPECT_EQ(run_program({"xfs_repair", "-n", data.path()}).status, 0);
        const std::string here = folder.file("mounted");
        std::filesystem::create_directories(here);
        must_run({"mount", "-o", "ro", data.path(), here});
        must_run({"umount", here});
    }
    EXPECT_EQ(fat_files(folder, image, disk.esp), fat_files(folder, disk.path, disk.esp));
    EXPECT_EQ(ext_files(folder, image, last), ext_files(folder, disk.path, disk.root));
}

void copy(const std::string& from, std::uint32_t from_sectors, const std::string& to,
          std::uint32_t to_sectors, const std::vector<std::string>& options = {}) {
    const LoopDevice source(from, sectors(from_sectors)), target(to, sectors(to_sectors));
    std::vector<std::string> arguments = {"copy", "--yes", "--progress=none", source.path(), target.path()};
    arguments.insert(arguments.begin() + 1, options.begin(), options.end());
    const RunResult result = test::run_dupengine(arguments);
    ASSERT_EQ(result.status, 0) << result.err;
    if (!options.empty()) return;
    const RunResult verify = test::run_dupengine({"verify", "--progress=none", source.path(), target.path()});
    EXPECT_EQ(verify.status, 0) << verify.out << verify.err;
}

class Sectors : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(Sectors, ADiskIsUsableInLargeSectorsAndInSmallOnesAgain) {
    const ScratchFolder folder;
    const Disk disk = make_disk(folder, GetParam());
    const std::string large = folder.sparse_file("large.img", kDisk),
                      small = folder.sparse_file("small.img", kDisk);
    copy(disk.path, 512, large, 4096);
    expect_good_disk(folder, disk, large, 4096);
    copy(large, 4096, small, 512);
    expect_good_disk(folder, disk, small, 512);
}

INSTANTIATE_TEST_SUITE_P(Esp, Sectors,
                         ::testing::Values(std::vector<std::string>{"-F", "32", "-s", "8"},
                                           std::vector<std::string>{"-F", "32", "-s", "8", "-R", "33", "-a"},
                                           std::vector<std::string>{"-F", "16", "-s", "16"}));

TEST(SectorsGrow, TheLastFilesystemFillsALargerDiskOfLargeSectors) {
    const ScratchFolder folder;
    const Disk disk = make_disk(folder, {"-F", "16", "-s", "16"});
    const std::string large = folder.sparse_file("large.img", kDisk + 200 * kMiB);
    copy(disk.path, 512, large, 4096, {"--grow"});
    const std::uint64_t grown = (kDisk + 199 * kMiB) - disk.root.begin;
    const LoopDevice whole(large, sectors(4096));
    EXPECT_THAT(must_run({"sgdisk", "-v", whole.path()}), HasSubstr("No problems found"));
    const LoopDevice root(large, part_of({disk.root.begin, disk.root.begin + grown}, 4096));
    EXPECT_EQ(run_program({"e2fsck", "-fn", root.path()}).status, 0);
    EXPECT_GT(test::dumpe2fs_number(root.path(), "Block count") * 4096, disk.root.size() + 190 * kMiB);
}

TEST(SectorsProfile, TheTargetKeepsItsProfile) {
    const ScratchFolder folder;
    const Disk disk = make_disk(folder, {"-F", "16", "-s", "16"});
    const std::string large = folder.sparse_file("large.img", kDisk + 8 * kMiB);
    const block::Extent profile{kDisk + 4 * kMiB, kDisk + 5 * kMiB};
    test::fill_with_old_data(folder.file("old"), profile.size());
    must_run({"dd", "if=" + folder.file("old"), "of=" + large, "bs=1M", "conv=notrunc", "status=none",
              fmt::format("seek={}", profile.begin / kMiB)});
    {
        const LoopDevice target(large, sectors(4096));
        must_run({"sgdisk", "--clear",
                  fmt::format("--new=9:{}:{}", profile.begin / 4096, profile.end / 4096 - 1),
                  "--typecode=9:d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972", target.path()});
    }
    test::extract_range(large, profile, folder.file("before"));
    copy(disk.path, 512, large, 4096);
    test::extract_range(large, profile, folder.file("after"));
    EXPECT_EQ(test::file_sha256(folder.file("before")), test::file_sha256(folder.file("after")));
    const LoopDevice target(large, sectors(4096));
    EXPECT_THAT(must_run({"sgdisk", "-i", "9", target.path()}),
                HasSubstr(fmt::format("First sector: {}", profile.begin / 4096)));
}

TEST(SectorsBare, AnExfatWithoutATableIsCheckedCleanThereAndBack) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 64 * kMiB);
    must_run({"mkfs.exfat", "-c", "8K", source});
    std::string from = source;
    std::uint32_t from_sectors = 512;
    for (const std::uint32_t sector : {4096u, 512u}) {
        const std::string to = folder.sparse_file(fmt::format("target-{}.img", sector), 64 * kMiB);
        copy(from, from_sectors, to, sector);
        const LoopDevice device(to, sectors(sector));
        const RunResult check = run_program({"fsck.exfat", "-n", device.path()});
        EXPECT_EQ(check.status, 0) << check.out << check.err;
        EXPECT_THAT(must_run({"dump.exfat", device.path()}),
                    HasSubstr(sector == 512 ? "Sector Size Bits: \t\t\t9" : "Sector Size Bits: \t\t\t12"));
        from = to;
        from_sectors = sector;
    }
}

// What the target says, and that it is as it was.
std::string refusal(const ScratchFolder& folder, const std::string& source) {
    const std::string path = folder.file("refused.img");
    test::fill_with_old_data(path, 64 * kMiB);  // its size is looked at after what lies on the source
    const std::string before = test::file_sha256(path);
    RunResult result;
    {
        const LoopDevice from(source, sectors(512)), to(path, sectors(4096));
        result = test::run_dupengine({"copy", "--yes", "--progress=none", from.path(), to.path()});
    }
    EXPECT_EQ(result.status, 3) << result.out;
    EXPECT_EQ(test::file_sha256(path), before) << "a refusal wrote";
    return result.err;
}

TEST(SectorsRefused, AnXfsOfSmallSectorsCannotBeMountedThere) {
    const ScratchFolder folder;
    const Disk disk = make_disk(folder, {"-F", "16", "-s", "16"}, "512");
    EXPECT_THAT(refusal(folder, disk.path), HasSubstr("partition 3: XFS with sectors of 512 bytes"));
}

TEST(SectorsRefused, ClustersAndBlocksSmallerThanASector) {
    const ScratchFolder folder;
    const test::DiskImage disk = test::make_disk_image(folder, "source.img");  // 2 KiB clusters, 1 KiB blocks
    EXPECT_THAT(refusal(folder, disk.path), HasSubstr("partition 1: FAT with clusters of 2048 bytes"));
}

TEST(SectorsRefused, TheSameOfAFilesystemWithoutATable) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 64 * kMiB);
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", source});
    EXPECT_THAT(refusal(folder, source), HasSubstr("ext4 with blocks of 1024 bytes"));
}

TEST(SectorsRefused, TheSameOfAFilesystemInALogicalVolume) {
    const ScratchFolder folder;
    const std::string root = folder.sparse_file("root.img", 48 * kMiB);
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", root});
    const test::LvmDisk disk = test::make_lvm_disk(folder, "source.img", root);
    EXPECT_THAT(refusal(folder, disk.path), HasSubstr("/root: ext4 with blocks of 1024 bytes"));
}

}  // namespace
}  // namespace dupengine
