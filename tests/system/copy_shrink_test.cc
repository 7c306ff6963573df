// copy --shrink: a disk onto a smaller one. What the user has arrives file by file, the source is untouched,
// what the target keeps stays, and what cannot be done is refused with nothing written.

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "block/lent_file.h"
#include "block/open.h"
#include "layout/partition_table.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/disk_image.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine {
namespace {

using block::Extent;
using test::LoopDevice;
using test::Mount;
using test::must_run;
using test::run_dupengine;
using test::ScratchFolder;
using ::testing::HasSubstr;

constexpr std::uint64_t kSourceBytes = 120 * kMiB, kTargetBytes = 80 * kMiB;
constexpr const char* kProfileType = "d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972";

void put(const std::string& from, const std::string& disk, ByteOffset at) {
    must_run({"dd", "if=" + from, "of=" + disk, "bs=1M", "conv=notrunc,sparse", "oflag=seek_bytes",
              fmt::format("seek={}", at), "status=none"});
}

Extent place_of(const std::string& disk, unsigned number) {
    const auto reader = block::open_source(disk);
    const layout::PartitionTable table = layout::read_partition_table(*reader);
    const layout::Partition* partition = table.by_number(number);
    return partition != nullptr ? partition->extent : Extent{};
}

std::string part_of(const ScratchFolder& folder, const std::string& disk, unsigned number,
                    const std::string& name) {
    test::extract_range(disk, place_of(disk, number), folder.file(name));
    return folder.file(name);
}

// Files come and go, so that what stays is scattered up to the end; then most of it is given up.
void age(const ScratchFolder& folder, const std::string& image, const std::string& type,
         std::uint64_t file_bytes, std::uint64_t seed) {
    const LoopDevice loop(image);
    const Mount mount(loop.path(), folder.file("aging"), type);
    Bytes content(file_bytes);
    SeededRandom random(seed);
    std::vector<std::string> files;
    random.fill(content);
    for (int i = 0;; ++i) {
        const std::filesystem::space_info room = std::filesystem::space(folder.file("aging"));
        if (room.available < room.capacity / 20 + 2 * file_bytes) break;
        store_le<std::uint32_t>(content, 0, static_cast<std::uint32_t>(i));  // no two are the same
        files.push_back(fmt::format("{}/large-{}", folder.file("aging"), i));
        std::ofstream(files.back(), std::ios::binary) << as_text(content);
    }
    for (std::size_t i = 0; i < files.size(); ++i)
        if (i % 5 < 3 && i + 1 != files.size()) std::filesystem::remove(files[i]);
    test::Churn(folder.file("aging"), seed).run(60);
}

std::string make_aged_ext4(const ScratchFolder& folder, const std::string& name, std::uint64_t size_bytes) {
    const std::string image = folder.sparse_file(name, size_bytes);
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", image});
    age(folder, image, "ext4", kMiB, 7);
    return image;
}

// As Debian's installer lays it out: ESP, root, and swap last.
struct DebianDisk {
    std::string path, root, swap_uuid;
    std::string sha256;
};

DebianDisk make_debian_disk(const ScratchFolder& folder) {
    DebianDisk disk;
    disk.path = folder.sparse_file("source.img", kSourceBytes);
    must_run({"sgdisk", "-n1:0:+8M", "-t1:ef00", "-c1:ESP", "-n2:0:+100M", "-c2:root", "-A2:set:2", "-n3:0:0",
              "-t3:8200", "-c3:swap", disk.path});
    const std::string esp = folder.sparse_file("esp", place_of(disk.path, 1).size());
    must_run({"mkfs.fat", esp});
    must_run({"mmd", "-i", esp, "::/EFI"});
    must_run({"mcopy", "-i", esp, "/etc/os-release", "::/EFI/BOOT.TXT"});
    disk.root = make_aged_ext4(folder, "root", place_of(disk.path, 2).size());
    std::ofstream(disk.root, std::ios::in | std::ios::out) << "EXTLINUX";  // in front of the superblock
    const std::string swap = folder.sparse_file("swap", place_of(disk.path, 3).size());
    must_run({"mkswap", "-L", "swap", swap});
    disk.swap_uuid = must_run({"blkid", "-p", "-o", "value", "-s", "UUID", swap});
    put(esp, disk.path, place_of(disk.path, 1).begin);
    put(disk.root, disk.path, place_of(disk.path, 2).begin);
    put(swap, disk.path, place_of(disk.path, 3).begin);
    disk.sha256 = test::file_sha256(disk.path);
    return disk;
}

// An empty target that keeps one mebibyte of a profile at its end.
std::string make_target_with_profile(const ScratchFolder& folder, std::uint64_t size_bytes) {
    const std::string target = folder.sparse_file("target.img", size_bytes);
    must_run({"sgdisk", "-n128:-1M:0", std::string("-t128:") + kProfileType, "-c128:profile", target});
    std::ofstream(folder.file("profile")) << "who this machine is";
    put(folder.file("profile"), target, place_of(target, 128).begin);
    return target;
}

std::string guid_of(const std::string& disk, unsigned number) {
    const auto reader = block::open_source(disk);
    const layout::PartitionTable table = layout::read_partition_table(*reader);
    const layout::Partition& p = *table.by_number(number);
    return p.guid.text() + p.type_guid.text() + p.name + std::to_string(p.attributes);
}

// Programs that write the time, or draw a number, would make every run another copy.
void expect_the_same_view_again(const std::string& source, const std::string& target) {
    must_run({"sleep", "1.1"});  // another second, another time stamp
    const RunResult same = run_dupengine({"verify", "--shrink", source, target});
    EXPECT_EQ(same.status, 0) << same.out << same.err;
    const RunResult again =
        run_dupengine({"copy", "--yes", "--json", "--delta=always", "--shrink", source, target});
    ASSERT_EQ(again.status, 0) << again.err;
    const auto report = nlohmann::json::parse(again.out);
    EXPECT_LT(report["bytes_written"].get<std::uint64_t>(), 2 * kMiB) << "only marks and the table";
}

TEST(CopyShrink, ADebianDiskFitsOntoOneTwoThirdsAsLarge) {
    const ScratchFolder folder;
    const DebianDisk source = make_debian_disk(folder);
    const std::string target = make_target_with_profile(folder, kTargetBytes);
    const std::string profile = test::file_sha256(part_of(folder, target, 128, "profile-before"));
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", source.path, target});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("partition 2 (ext4) becomes smaller: "));
    EXPECT_THAT(result.out, HasSubstr("partition 2 (ext4): a boot loader in front of it"));
    EXPECT_THAT(result.out, HasSubstr("partition 3 (swap) moves to "));
    EXPECT_EQ(test::file_sha256(source.path), source.sha256) << "the source was written";
    EXPECT_THAT(must_run({"sgdisk", "-v", target}), HasSubstr("No problems found"));
    EXPECT_EQ(test::file_sha256(part_of(folder, target, 128, "profile-after")), profile);
    for (const unsigned number : {1u, 2u, 3u})
        EXPECT_EQ(guid_of(target, number), guid_of(source.path, number));
    EXPECT_EQ(place_of(target, 1), place_of(source.path, 1)) << "moved in vain";
    EXPECT_EQ(place_of(target, 3).size(), place_of(source.path, 3).size());
    const std::string root = part_of(folder, target, 2, "root-after");
    EXPECT_EQ(run_program({"e2fsck", "-fn", root}).status, 0);
    test::expect_same_mounted(folder, source.root, root, "ext4", "ro");
    EXPECT_EQ(
        must_run({"blkid", "-p", "-o", "value", "-s", "UUID", part_of(folder, target, 3, "swap-after")}),
        source.swap_uuid);
    const std::string esp = part_of(folder, target, 1, "esp-after");
    EXPECT_EQ(must_run({"mtype", "-i", esp, "::/EFI/BOOT.TXT"}), must_run({"cat", "/etc/os-release"}));
    expect_the_same_view_again(source.path, target);
}

TEST(CopyShrink, ABareFilesystemThatWasCutArrivesWithItsJournalReplayed) {
    const ScratchFolder folder;
    const std::string image = make_aged_ext4(folder, "alive.img", 64 * kMiB);
    const std::string source = folder.file("source.img");
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), folder.file("mnt"));
        test::Churn(folder.file("mnt"), 11).run(60);
        must_run({"sync", "-f", folder.file("mnt")});
        std::ofstream(folder.file("mnt") + "/last") << "flushed into the journal";
        must_run({"sync", folder.file("mnt") + "/last"});
        must_run({"cp", "--sparse=always", loop.path(), source});  // the power goes
    }
    ASSERT_THAT(must_run({"dumpe2fs", "-h", source}), HasSubstr("needs_recovery"));
    const std::string before = test::file_sha256(source);
    const std::string target = folder.sparse_file("target.img", 44 * kMiB);
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", source, target});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(test::file_sha256(source), before) << "its journal was replayed on the source";
    EXPECT_EQ(run_program({"e2fsck", "-fn", target}).status, 0);
    test::expect_same_mounted(folder, source, target, "ext4", "ro");
}

// What the source held between would pass for data that somebody put behind the filesystem.
void expect_ntfs_up_to_the_end(const std::string& image) {
    const auto part = block::open_source(image);
    const std::uint64_t size = part->geometry().size_bytes;
    const Bytes boot = block::read_extent(*part, {0, 512});
    EXPECT_EQ((load_le<std::uint64_t>(boot, 40) + 1) * 512, size);
    EXPECT_EQ(block::read_extent(*part, {size - 512, size}), boot);
}

// Its last group would be too small to be one, so resize2fs leaves it out.
TEST(CopyShrink, WhatAProgramLeavesBehindTheFilesystemIsEmptyAndShrinksAgain) {
    const ScratchFolder folder;
    const std::string source = folder.file("source.img"),
                      target = folder.sparse_file("target.img", 24 * kMiB + 64 * kKiB);
    must_run({"dd", "if=/dev/urandom", "of=" + source, "bs=1M", "count=48", "status=none"});
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-J", "size=1", "-E", "nodiscard", source});
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", source, target});
    ASSERT_EQ(result.status, 0) << result.err;
    ASSERT_LT(test::dumpe2fs_number(target, "Block count"), 24u * 1024 + 64) << "the test showed nothing";
    const std::string smaller = folder.sparse_file("smaller.img", 16 * kMiB);
    const RunResult again = run_dupengine({"copy", "--yes", "--shrink", target, smaller});
    EXPECT_EQ(again.status, 0) << again.err;
}

// A source with a sector that cannot be read, and nothing needs: in free space, where the kernel reads ahead.
TEST(CopyShrink, ABadSectorThatNoProgramAskedForIsNoError) {
    const ScratchFolder folder;
    const auto bytes = std::make_shared<test::DiskBytes>(kMiB);
    test::MemoryDevice disk(bytes);
    disk.set_interceptor([](std::size_t, const test::Call& call) {
        if (call.extent.touches({kMiB / 2, kMiB / 2 + 512})) throw_error(Code::kSourceIo, "bad sector");
    });
    block::Overlay overlay(disk, {0, kMiB}, "part", 0);
    const block::LentFile file(overlay);
    const auto read_it = [&](const std::string& then) {
        return run_program(
            {"sh", "-c",
             fmt::format("dd if={} bs=4096 skip=128 count=1 of=/dev/null; {}", file.path(), then)});
    };
    EXPECT_EQ(read_it("exit 0").status, 0);
    EXPECT_NO_THROW(file.rethrow_error(block::LentFile::Program::kSucceeded));
    try {
        file.rethrow_error(block::LentFile::Program::kFailed);
        ADD_FAILURE() << "the sector was never read: the test showed nothing";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr("bad sector"));
    }
}

// NTFS shrinks, and the FAT behind it moves: the boot sectors of both say where they are.
TEST(CopyShrink, NtfsBecomesSmallerAndBootSectorsFollowWhatMoves) {
    const ScratchFolder folder;
    const std::string disk = folder.sparse_file("source.img", 90 * kMiB);
    must_run({"sgdisk", "-n1:0:+48M", "-t1:0700", "-n2:0:+36M", "-t2:0700", disk});
    const Extent ntfs_place = place_of(disk, 1), fat_place = place_of(disk, 2);
    const std::string ntfs = folder.sparse_file("ntfs", ntfs_place.size());
    must_run({"mkfs.ntfs", "-q", "-F", "-f", "-p", std::to_string(ntfs_place.begin / 512), "-H", "255", "-S",
              "63", ntfs});
    age(folder, ntfs, "ntfs-3g", kMiB, 3);
    const std::string fat = folder.sparse_file("fat", fat_place.size());
    must_run({"mkfs.fat", "-F", "32", "-s", "1", "-h", std::to_string(fat_place.begin / 512), fat});
    put(ntfs, disk, ntfs_place.begin);
    put(fat, disk, fat_place.begin);
    const std::string before = test::file_sha256(disk);
    const std::string target = folder.sparse_file("target.img", 76 * kMiB);
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", disk, target});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("chkdsk"));
    EXPECT_EQ(test::file_sha256(disk), before);
    const std::string small = part_of(folder, target, 1, "ntfs-after");
    EXPECT_LT(std::filesystem::file_size(small), ntfs_place.size());
    test::expect_same_mounted(folder, ntfs, small, "ntfs-3g", "ro");
    must_run({"ntfsresize", "--info", "--force", small});
    EXPECT_THAT(must_run({"ntfsfix", "--no-action", small}), HasSubstr("OK"));
    expect_ntfs_up_to_the_end(small);
    const std::string moved = part_of(folder, target, 2, "fat-after");
    const auto hidden = [](const std::string& part, ByteOffset sector) {
        return load_le<std::uint32_t>(block::read_extent(*block::open_source(part), {sector, sector + 512}),
                                      28);
    };
    EXPECT_LT(place_of(target, 2).begin, fat_place.begin);
    EXPECT_EQ(hidden(moved, 0), place_of(target, 2).begin / 512);
    EXPECT_EQ(hidden(moved, std::uint64_t{6} * 512), place_of(target, 2).begin / 512) << "the backup";
    EXPECT_EQ(run_program({"fsck.fat", "-n", moved}).status, 0);
    EXPECT_EQ(run_dupengine({"verify", "--shrink", disk, target}).status, 0);
}

// The kernel must not take the one for the other: the source is attached, and known to it.
TEST(CopyShrink, BtrfsBecomesSmallerWhileItsSourceIsKnownToTheKernel) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 400 * kMiB);
    must_run({"mkfs.btrfs", "-q", source});
    age(folder, source, "btrfs", kMiB, 5);
    const std::string before = test::file_sha256(source);
    const std::string uuid = must_run({"blkid", "-p", "-o", "value", "-s", "UUID", source});
    const std::string target = folder.sparse_file("target.img", 300 * kMiB);
    {
        const LoopDevice attached(source, {.read_only = true});
        must_run({"btrfs", "device", "scan", attached.path()});
        const RunResult result = run_dupengine({"copy", "--yes", "--shrink", attached.path(), target});
        EXPECT_EQ(result.status, 0) << result.err;
        run_program({"btrfs", "device", "scan", "--forget", attached.path()});
    }
    EXPECT_EQ(test::file_sha256(source), before);
    EXPECT_EQ(must_run({"blkid", "-p", "-o", "value", "-s", "UUID", target}), uuid);
    EXPECT_EQ(run_program({"btrfs", "check", target}).status, 0);
    test::expect_same_mounted(folder, source, target, "btrfs", "ro");
}

TEST(CopyShrink, PrimaryPartitionsOfAnMbrMove) {
    const ScratchFolder folder;
    const std::string disk = folder.sparse_file("source.img", 80 * kMiB);
    RunOptions table;
    table.input = "label: dos\nstart=2048,size=122880,type=83,bootable\nsize=32768,type=82\n";
    must_run({"sfdisk", "-q", disk}, table);
    const std::string root = make_aged_ext4(folder, "root", place_of(disk, 1).size());
    put(root, disk, place_of(disk, 1).begin);
    const std::string swap = folder.sparse_file("swap", place_of(disk, 2).size());
    must_run({"mkswap", swap});
    put(swap, disk, place_of(disk, 2).begin);
    const std::string target = folder.sparse_file("target.img", 64 * kMiB);
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", disk, target});
    ASSERT_EQ(result.status, 0) << result.err;
    must_run({"sfdisk", "--verify", target});
    const std::string after = part_of(folder, target, 1, "root-after");
    EXPECT_EQ(run_program({"e2fsck", "-fn", after}).status, 0);
    test::expect_same_mounted(folder, root, after, "ext4", "ro");
    EXPECT_EQ(must_run({"blkid", "-p", "-o", "value", "-s", "TYPE", part_of(folder, target, 2, "s")}),
              "swap\n");
}

void expect_unwritten(const std::string& target) {
    EXPECT_EQ(must_run({"stat", "-c", "%b", target}), "0\n") << "something was written";
}

TEST(CopyShrink, WhatHoldsTooMuchIsRefusedWithTheNumberOfBytesThatWouldDo) {
    const ScratchFolder folder;
    const std::string source = make_aged_ext4(folder, "source.img", 40 * kMiB);
    const std::string target = folder.sparse_file("target.img", 10 * kMiB);
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", source, target});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr("too small, with --shrink too: the source needs at least "));
    EXPECT_THAT(result.err, HasSubstr(std::to_string(10 * kMiB)));
    expect_unwritten(target);
    const RunResult without = run_dupengine({"copy", "--yes", source, target});
    EXPECT_EQ(without.status, 3);
    EXPECT_THAT(without.err, HasSubstr("--shrink"));
    expect_unwritten(target);
}

TEST(CopyShrink, WhatCannotMoveIsNamedAndNothingIsWritten) {
    const ScratchFolder folder;
    RunOptions table;
    const std::string logical = folder.sparse_file("logical.img", 64 * kMiB);
    table.input = "label: dos\nsize=32768,type=83\ntype=5\nsize=40960,type=83\n";
    must_run({"sfdisk", "-q", logical}, table);
    const std::string target = folder.sparse_file("target.img", 30 * kMiB);
    const RunResult first = run_dupengine({"copy", "--yes", "--shrink", logical, target});
    EXPECT_EQ(first.status, 3) << first.err;
    EXPECT_THAT(first.err, HasSubstr("logical partitions"));

    const std::string sleeping = folder.sparse_file("sleeping.img", 64 * kMiB);
    table.input = "label: gpt\nstart=40960,size=40960,type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n";
    must_run({"sfdisk", "-q", sleeping}, table);
    const std::string swap = folder.sparse_file("swap", 20 * kMiB);
    must_run({"mkswap", swap});
    std::ofstream(swap, std::ios::in | std::ios::out).seekp(4086) << "S1SUSPEND";
    put(swap, sleeping, place_of(sleeping, 1).begin);
    const RunResult second = run_dupengine({"copy", "--yes", "--shrink", sleeping, target});
    EXPECT_EQ(second.status, 3) << second.err;
    EXPECT_THAT(second.err, HasSubstr("hibernated"));
    expect_unwritten(target);
    EXPECT_EQ(run_dupengine({"copy", "--yes", "--shrink", "--busy-source", logical, target}).status, 2);
}

// Its entry in the MBR would go on to say where the partition ended before.
TEST(CopyShrink, APartitionThatAHybridMbrNamesKeepsItsSize) {
    const ScratchFolder folder;
    const std::string disk = folder.sparse_file("source.img", 64 * kMiB);
    must_run({"sgdisk", "-n1:0:0", "-h1", disk});
    const std::string root = make_aged_ext4(folder, "root", place_of(disk, 1).size());
    put(root, disk, place_of(disk, 1).begin);
    const std::string target = folder.sparse_file("target.img", 56 * kMiB);
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", disk, target});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr("partition 1 (ext4): a hybrid MBR names sectors of this disk"));
    expect_unwritten(target);
}

// Only the partition is too large: its filesystem is not grown into what is left of it, nor touched.
TEST(CopyShrink, APartitionLargerThanItsFilesystemIsCutAndTheFilesystemStaysAsItIs) {
    const ScratchFolder folder;
    const std::string disk = folder.sparse_file("source.img", 64 * kMiB);
    must_run({"sgdisk", "-n1:0:0", disk});
    const std::string small = folder.sparse_file("ext", 20 * kMiB);
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", small});
    put(small, disk, place_of(disk, 1).begin);
    const std::string target = folder.sparse_file("target.img", 40 * kMiB);
    const RunResult result = run_dupengine({"copy", "--yes", "--shrink", disk, target});
    ASSERT_EQ(result.status, 0) << result.err;
    const Extent place = place_of(target, 1);
    test::extract_range(target, {place.begin, place.begin + 20 * kMiB}, folder.file("after"));
    must_run({"cmp", small, folder.file("after")});
}

TEST(CopyShrink, AFilesystemThatIsNotInOrderOrAMissingProgramStopsItBeforeTheFirstWrite) {
    const ScratchFolder folder;
    const std::string source = make_aged_ext4(folder, "source.img", 40 * kMiB);
    const std::string target = folder.sparse_file("target.img", 30 * kMiB);
    const std::string command = test::command();
    const RunResult missing =
        run_program({"unshare", "--mount", "sh", "-c",
                     "mount --bind /dev/null \"$(command -v resize2fs)\" && exec \"$0\" copy --yes --shrink "
                     "\"$1\" \"$2\"",
                     command, source, target});
    EXPECT_EQ(missing.status, 9) << missing.err;
    EXPECT_THAT(missing.err, HasSubstr("e2fsprogs"));
    expect_unwritten(target);
    // A link count that e2fsck does not correct without being asked.
    must_run({"debugfs", "-w", "-R", "clri <2>", source});
    const RunResult damaged = run_dupengine({"copy", "--yes", "--shrink", source, target});
    EXPECT_EQ(damaged.status, 3) << damaged.err;
    EXPECT_THAT(damaged.err, HasSubstr("e2fsck"));
    expect_unwritten(target);
}

// A folder for temporary files on a disk that has less room than it says (thin provisioning): what is written
// is taken, and lost when it has to get there.
TEST(CopyShrink, ChangesThatTheTemporaryFileLostDoNotBecomeTheCopy) {
    const ScratchFolder folder;
    const std::string source = make_aged_ext4(folder, "source.img", 40 * kMiB);
    const std::string target = folder.sparse_file("target.img", 30 * kMiB);
    const Mount pool("none", folder.file("pool"), "tmpfs", "size=2M");
    must_run({"truncate", "-s", "200M", folder.file("pool/thin")});
    must_run({"mke2fs", "-q", "-F", "-t", "ext2", "-N", "64", folder.file("pool/thin")});
    const LoopDevice thin(folder.file("pool/thin"));
    const Mount scratch(thin.path(), folder.file("scratch"), "ext2");
    const RunResult result = run_program({"env", "TMPDIR=" + folder.file("scratch"), test::command(), "copy",
                                          "--yes", "--shrink", source, target});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr("TMPDIR"));
    expect_unwritten(target);
}

// The programs work longest, so they are who has to stand back.
TEST(CopyShrink, NiceIsForTheProgramsThatMakeItSmallerToo) {
    const ScratchFolder folder;
    const std::string source = make_aged_ext4(folder, "source.img", 40 * kMiB);
    const std::string target = folder.sparse_file("target.img", 30 * kMiB);
    std::filesystem::create_directories(folder.file("bin"));
    std::ofstream(folder.file("bin/e2fsck"))
        << "#!/bin/sh\nnice > '" << folder.file("nice") << "'\nexec /sbin/e2fsck \"$@\"\n";
    std::filesystem::permissions(folder.file("bin/e2fsck"), std::filesystem::perms::owner_all);
    const RunResult result =
        run_program({"sh", "-c", "PATH=\"$0:$PATH\" exec \"$1\" copy --dry-run --nice --shrink \"$2\" \"$3\"",
                     folder.file("bin"), test::command(), source, target});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(must_run({"cat", folder.file("nice")}), "19\n");
}

// In front of the real one in PATH: writes its process number, and does not end.
std::string folder_of_endless_resize2fs(const ScratchFolder& folder) {
    const std::string bin = folder.file("bin");
    std::filesystem::create_directories(bin);
    std::ofstream(bin + "/resize2fs")
        << "#!/bin/sh\necho $$ > '" << folder.file("started") << "'\nexec 3<>\"$2\"\nexec sleep 300\n";
    std::filesystem::permissions(bin + "/resize2fs", std::filesystem::perms::owner_all);
    return bin;
}

// `signal` while resize2fs is at work in the overlay; returns the exit status.
int stop_while_shrinking(const ScratchFolder& folder, const std::string& source, const std::string& target,
                         const std::string& signal) {
    const std::string bin = folder_of_endless_resize2fs(folder), changes = folder.file("tmp");
    std::filesystem::create_directories(changes);
    const std::string loops = must_run({"losetup", "--list", "--noheadings", "--output=NAME,BACK-FILE"});
    const RunResult result = run_program(
        {"env", "N=" + folder.file("started"), "S=" + source, "T=" + target, "D=" + test::command(),
         "B=" + bin, "K=" + signal, "TMPDIR=" + changes, "sh", "-c",
         "env PATH=\"$B:$PATH\" \"$D\" copy --yes --progress=none --shrink \"$S\" \"$T\" & copy=$!; "
         "for i in $(seq 600); do [ -s \"$N\" ] && break; sleep 0.05; done; kill -$K $copy; wait $copy"});
    std::string process;
    std::ifstream(folder.file("started")) >> process;
    EXPECT_FALSE(process.empty()) << "resize2fs was never reached: the test showed nothing";
    for (int i = 0; i < 100 && std::filesystem::exists("/proc/" + process); ++i)
        must_run({"sleep", "0.05"});
    EXPECT_FALSE(std::filesystem::exists("/proc/" + process)) << "it goes on";
    EXPECT_TRUE(std::filesystem::is_empty(changes)) << "a file was left";
    const std::string now = must_run({"losetup", "--list", "--noheadings", "--output=NAME,BACK-FILE"});
    EXPECT_EQ(now.find(folder.path()), std::string::npos) << "a loop device was left: " << loops << now;
    expect_unwritten(target);
    return result.status;
}

TEST(CopyShrink, KilledOrInterruptedWhilePlanningItLeavesNothingBehindAndNothingWritten) {
    const ScratchFolder folder;
    const std::string source = make_aged_ext4(folder, "source.img", 40 * kMiB);
    const std::string before = test::file_sha256(source);
    const std::string target = folder.sparse_file("target.img", 30 * kMiB);
    EXPECT_EQ(stop_while_shrinking(folder, source, target, "TERM"), 10);
    std::filesystem::remove(folder.file("started"));
    EXPECT_EQ(stop_while_shrinking(folder, source, target, "KILL"), 128 + 9);
    EXPECT_EQ(test::file_sha256(source), before);
}

}  // namespace
}  // namespace dupengine
