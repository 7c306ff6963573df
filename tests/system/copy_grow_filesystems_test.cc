// `copy --grow` for every filesystem that grows, made by its own mkfs and full of files: afterwards it is as
// large as its partition, sound to its own checker, and holds the same files; the source is what it was.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/statvfs.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/aged_filesystem.h"
#include "tests/support/disk_image.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

using block::Extent;
using nlohmann::json;

struct Kind {
    std::string name;
    std::vector<std::string> make;
    std::string mount;  // the type, for mount(8)
    std::string options;
    std::vector<std::string> check;
    std::uint32_t sector_bytes = 512;
};

const std::vector<Kind> kKinds = {
    {"Xfs", {"mkfs.xfs", "-q", "-f", "--unsupported", "-L", "label"}, "xfs", "nouuid", {"xfs_repair", "-n"}},
    {"XfsOf4096ByteSectors",
     {"mkfs.xfs", "-q", "-f", "--unsupported", "-m", "rmapbt=1"},
     "xfs",
     "nouuid",
     {"xfs_repair", "-n"},
     4096},
    {"Btrfs", {"mkfs.btrfs", "-q", "-f", "-L", "label"}, "btrfs", "", {"btrfs", "check", "--readonly"}},
    {"BtrfsWithXxhash",
     {"mkfs.btrfs", "-q", "-f", "--csum", "xxhash", "-n", "4096", "-m", "single"},
     "btrfs",
     "",
     {"btrfs", "check", "--readonly"}},
    {"Ntfs",
     {"mkntfs", "-q", "-F", "-Q", "-L", "label"},
     "ntfs-3g",
     "",
     {"ntfsresize", "--info", "--force", "--no-progress-bar"}},
};

constexpr std::uint64_t kSmall = 120 << 20, kLarge = 400 << 20;

// One partition from 1 MiB on. (sgdisk sleeps for a second.)
void make_table(const std::string& disk) {
    must_run({"sfdisk", "--quiet", disk}, {.input = "label: gpt\nstart=1MiB\n"});
}

// A disk with one partition, and files in it.
std::string make_source(const ScratchFolder& folder, const Kind& kind) {
    const std::string disk = folder.sparse_file("source.img", kSmall);
    LoopDevice::Options options{.sector_bytes = kind.sector_bytes};
    {
        const LoopDevice loop(disk, options);
        make_table(loop.path());
    }
    options.offset_bytes = kMiB;
    options.size_bytes = kSmall - 2 * kMiB;
    const LoopDevice loop(disk, options);
    std::vector<std::string> make = kind.make;
    make.push_back(loop.path());
    must_run(make);
    const Mount mount(loop.path(), folder.file("mnt"), kind.mount, kind.options);
    std::filesystem::create_directories(folder.file("mnt/aged"));
    Churn(folder.file("mnt/aged"), 7).run(60);
    return disk;
}

json copy(const Kind& kind, const std::string& source, const std::string& target) {
    const LoopDevice::Options options{.sector_bytes = kind.sector_bytes};
    const LoopDevice from(source, options), to(target, options);
    const RunResult result = run_dupengine({"copy", "--json", "--yes", "--grow", from.path(), to.path()});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
}

struct Seen {
    std::string files;  // digest over names, owners, modes, times and contents
    std::uint64_t bytes = 0;
};

Seen look_inside(const ScratchFolder& folder, const Kind& kind, const std::string& disk, Extent part) {
    const LoopDevice loop(disk, {.read_only = true,
                                 .sector_bytes = kind.sector_bytes,
                                 .offset_bytes = part.begin,
                                 .size_bytes = part.size()});
    std::vector<std::string> check = kind.check;
    check.push_back(loop.path());
    const RunResult sound = run_program(check);
    EXPECT_EQ(sound.status, 0) << sound.out << sound.err;
    const std::string options = kind.options.empty() ? "ro" : "ro," + kind.options;
    const Mount mount(loop.path(), folder.file("mnt"), kind.mount, options);
    struct statvfs info {};
    EXPECT_EQ(::statvfs(folder.file("mnt").c_str(), &info), 0);
    return {must_run({"sh", "-c",
                      "cd \"$1\" && find aged -type f | grep -q . && tar --sort=name -c . | sha256sum", "sh",
                      folder.file("mnt")}),
            std::uint64_t{info.f_blocks} * info.f_frsize};
}

class CopyGrows : public testing::TestWithParam<Kind> {};

TEST_P(CopyGrows, TheFilesystemFillsTheLargerDiskAndLosesNothing) {
    const Kind& kind = GetParam();
    const ScratchFolder folder;
    const std::string source = make_source(folder, kind), before = file_sha256(source);
    const std::string target = folder.sparse_file("target.img", kLarge);
    const json report = copy(kind, source, target);
    EXPECT_EQ(file_sha256(source), before) << "the source was written";
    EXPECT_EQ(report["result"], "verified");
    ASSERT_TRUE(report["plan"].contains("grow")) << report["notes"];
    const Extent grown{kMiB, kMiB + report["plan"]["grow"]["to_bytes"].get<std::uint64_t>()};
    EXPECT_GT(grown.end, kLarge - 2 * kMiB);
    const Seen from = look_inside(folder, kind, source, {kMiB, kSmall - kMiB});
    const Seen to = look_inside(folder, kind, target, grown);
    EXPECT_EQ(from.files, to.files);
    EXPECT_GT(to.bytes, grown.size() - grown.size() / 8);  // some count their own structures, some do not
    EXPECT_LE(to.bytes, grown.size());
}

INSTANTIATE_TEST_SUITE_P(Kind, CopyGrows, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return kind.param.name; });

// What has no driver here is filled and read by its own programs. One partition from 1 MiB on.
std::string disk_around(const ScratchFolder& folder, const std::string& filesystem) {
    const std::string disk = folder.sparse_file("source.img", kSmall);
    make_table(disk);
    must_run(
        {"dd", "if=" + filesystem, "of=" + disk, "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"});
    return disk;
}

// The partition of the grown copy, as a file.
std::string grown_part(const ScratchFolder& folder, const std::string& source) {
    const std::string target = folder.sparse_file("target.img", kLarge), before = file_sha256(source);
    const RunResult result = run_dupengine({"copy", "--json", "--yes", "--grow", source, target});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(file_sha256(source), before) << "the source was written";
    const json plan = json::parse(result.out)["plan"];
    EXPECT_TRUE(plan.contains("grow")) << plan["notes"];
    EXPECT_NE(must_run({"sgdisk", "-v", target}).find("No problems found"), std::string::npos);
    if (plan.contains("grow"))
        extract_range(target, {kMiB, kMiB + plan["grow"]["to_bytes"].get<std::uint64_t>()},
                      folder.file("grown.img"));
    return folder.file("grown.img");
}

class CopyGrowsFat : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(CopyGrowsFat, EveryFileIsFoundWhereTheClustersMovedTo) {
    const ScratchFolder folder;
    const std::string fat = folder.sparse_file("fat.img", kSmall - 2 * kMiB);
    std::vector<std::string> make = {"mkfs.fat", "-n", "LABEL", "-i", "1234abcd"};
    make.insert(make.end(), GetParam().begin(), GetParam().end());
    make.push_back(fat);
    must_run(make);
    const std::string tree = folder.file("tree");
    std::filesystem::create_directories(tree + "/folder with a long name/below");
    Churn(tree, 3).run(60);
    Churn(tree + "/folder with a long name/below", 4).run(60);
    must_run({"find", tree, "-type", "l", "-delete"});
    // Of the clusters in front, some are free by now.
    must_run({"mcopy", "-i", fat, "-s", tree + "/folder with a long name", "::/first"});
    must_run({"mcopy", "-i", fat, "-s", "-m", tree, "::/"});
    must_run({"mdeltree", "-i", fat, "::/first/below"});
    const std::string grown = grown_part(folder, disk_around(folder, fat));
    const RunResult check = run_program({"fsck.fat", "-n", grown});
    EXPECT_EQ(check.status, 0) << check.out;
    EXPECT_EQ(fat_tree_digest(folder, fat), fat_tree_digest(folder, grown));
    const auto blkid = [](const std::string& image) {
        return must_run({"blkid", "-p", "-o", "export", "-s", "LABEL", "-s", "UUID", image});
    };
    EXPECT_EQ(blkid(fat).substr(blkid(fat).find('\n')), blkid(grown).substr(blkid(grown).find('\n')));
    // Full to the brim: the new clusters are there, and fsck.fat finds all of them.
    must_run(
        {"sh", "-c", "head -c 300M /dev/zero | mcopy -i \"$1\" - ::/new && fsck.fat -n \"$1\"", "sh", grown});
}

INSTANTIATE_TEST_SUITE_P(Make, CopyGrowsFat,
                         testing::Values(std::vector<std::string>{"-F", "32", "-s", "1"},
                                         std::vector<std::string>{"-F", "32", "-s", "2", "-f", "1"},
                                         std::vector<std::string>{"-F", "16", "-s", "32", "-r", "1024"}));

TEST(CopyGrowsF2fs, EveryFileIsThere) {
    const ScratchFolder folder;
    const std::string f2fs = folder.sparse_file("f2fs.img", kSmall - 2 * kMiB);
    const std::string tree = make_tree(folder, "tree", 5);
    must_run({"mkfs.f2fs", "-q", "-l", "label", f2fs});
    must_run({"sload.f2fs", "-f", tree, f2fs});
    const std::string grown = grown_part(folder, disk_around(folder, f2fs));
    const std::string said = must_run({"fsck.f2fs", "--dry-run", grown});
    EXPECT_EQ(said.find("Fail"), std::string::npos) << said;
    EXPECT_NE(said.find(fmt::format("total FS sectors = {} ", (kLarge - 2 * kMiB) / 512)), std::string::npos)
        << said;
    EXPECT_FALSE(look_at(grown).used.whole) << look_at(grown).used.reason;
    extract_f2fs(f2fs, folder.file("one"));
    extract_f2fs(grown, folder.file("other"));
    const RunResult same = run_program({"diff", "-r", folder.file("one"), folder.file("other")});
    EXPECT_EQ(same.status, 0) << same.complaint();
    EXPECT_GT(std::distance(std::filesystem::directory_iterator(folder.file("one") + "/lost_found"), {}), 9);
}

std::vector<std::string> notes_of_growing(const ScratchFolder& folder, const std::string& source) {
    const std::string target = folder.sparse_file("target.img", kLarge);
    const RunResult result = run_dupengine({"copy", "--json", "--dry-run", "--grow", source, target});
    EXPECT_EQ(result.status, 0) << result.err;
    const json plan = json::parse(result.out)["plan"];
    EXPECT_FALSE(plan.contains("grow"));
    return plan["notes"];
}

struct KeepsItsSize {
    std::string name, make, note;
};

class CopyDoesNotGrow : public testing::TestWithParam<KeepsItsSize> {};

TEST_P(CopyDoesNotGrow, WhatNothingGrowsAndSaysWhy) {
    const ScratchFolder folder;
    const std::string filesystem = folder.sparse_file("fs.img", kSmall - 2 * kMiB);
    must_run({"sh", "-c", GetParam().make, "sh", filesystem});
    const std::vector<std::string> notes = notes_of_growing(folder, disk_around(folder, filesystem));
    EXPECT_THAT(notes, testing::Contains(testing::HasSubstr(GetParam().note)));
    EXPECT_THAT(notes, testing::Contains(testing::HasSubstr("it keeps its size")));
}

INSTANTIATE_TEST_SUITE_P(
    Content, CopyDoesNotGrow,
    testing::Values(
        KeepsItsSize{"Exfat", "mkfs.exfat \"$1\"", "holds exfat, which nothing here grows"},
        KeepsItsSize{"Fat12", "mkfs.fat -F 12 -s 128 \"$1\"", "is a FAT12"},
        KeepsItsSize{"Syslinux",
                     "mkfs.fat -F 32 \"$1\" && printf SYSLINUX | dd of=\"$1\" bs=1 seek=3 conv=notrunc",
                     "boots with SYSLINUX"},
        KeepsItsSize{"FatOfAUsbStickThatWasPulledOut",
                     "mkfs.fat -F 32 \"$1\" && printf '\\001' | dd of=\"$1\" bs=1 seek=65 conv=notrunc",
                     "not unmounted cleanly"},
        KeepsItsSize{
            "DirtyNtfs",
            "mkntfs -q -F -Q \"$1\" && ntfsresize --force --force --no-progress-bar --size 64M \"$1\"",
            "holds ntfs that is copied whole"},
        KeepsItsSize{"Nothing", "true", "holds nothing that is known"}),
    [](const auto& content) { return content.param.name; });

// The program is there, but not for this command: something that cannot be run lies over it.
RunResult run_without(const std::string& program, const std::string& source, const std::string& target) {
    return run_program({"unshare", "--mount", "sh", "-c",
                        "mount --bind /dev/null \"$1\" && shift && exec \"$@\"", "sh", program,
                        test::command(), "copy", "--yes", "--progress=none", "--grow", source, target});
}

TEST(CopyGrowsNot, WithoutItsProgramsAndSaysSoBeforeTheFirstWrite) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, kKinds[0]),
                      target = folder.sparse_file("target.img", kLarge);
    fill_with_old_data(target, 8 << 20);
    const std::string before = file_sha256(target);
    for (const char* program : {"/usr/sbin/xfs_growfs", "/usr/sbin/xfs_repair"}) {
        const RunResult result = run_without(program, source, target);
        EXPECT_EQ(result.status, 9) << result.err;
        EXPECT_NE(result.err.find("Debian packages xfsprogs"), std::string::npos) << result.err;
        EXPECT_EQ(file_sha256(target), before);
    }
}

// In front of the real ones in PATH.
void put_program(const ScratchFolder& folder, const std::string& name, const std::string& text) {
    const std::string bin = folder.file("bin");
    std::filesystem::create_directories(bin);
    std::ofstream(bin + "/" + name) << "#!/bin/sh\n" << text;
    std::filesystem::permissions(bin + "/" + name, std::filesystem::perms::owner_all);
}

// resize.f2fs exits with 0 also where it gave up.
TEST(CopyGrowsNot, AProgramThatDidNothingAndSaidNothingIsNoSuccess) {
    const ScratchFolder folder;
    const std::string f2fs = folder.sparse_file("f2fs.img", kSmall - 2 * kMiB);
    must_run({"mkfs.f2fs", "-q", f2fs});
    const std::string source = disk_around(folder, f2fs), target = folder.sparse_file("target.img", kLarge);
    put_program(folder, "resize.f2fs", "exit 0\n");
    RunOptions options;
    options.extra_environment = {"PATH=" + folder.file("bin") + ":" + std::getenv("PATH")};
    const RunResult result = run_dupengine({"copy", "--yes", "--grow", source, target}, options);
    EXPECT_EQ(result.status, 5) << result.err;
    EXPECT_NE(result.err.find("growing the f2fs: its program reported no error, but"), std::string::npos)
        << result.err;
    const json seen = json::parse(run_dupengine({"inspect", "--json", target}).out);
    EXPECT_TRUE(seen["incomplete"].is_object()) << "a filesystem that did not grow looks complete";
}

TEST(CopyGrowsNot, AnXfsThatThisKernelCannotMountAndSaysSoBeforeTheFirstWrite) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, kKinds[0]),
                      target = folder.sparse_file("target.img", kLarge);
    fill_with_old_data(target, 8 << 20);
    const std::string before = file_sha256(target);
    put_program(folder, "mount", "echo 'mount: unknown filesystem type' >&2; exit 32\n");
    RunOptions options;
    options.extra_environment = {"PATH=" + folder.file("bin") + ":" + std::getenv("PATH")};
    const RunResult result = run_dupengine({"copy", "--yes", "--grow", source, target}, options);
    EXPECT_EQ(result.status, 9) << result.err;
    EXPECT_NE(result.err.find("this kernel cannot do: mount: unknown filesystem type"), std::string::npos)
        << result.err;
    EXPECT_EQ(file_sha256(target), before);
}

// As an old kernel does it with a feature that came later.
TEST(CopyGrowsNot, AnXfsThatThisKernelMountsOnlyForReadingAndSaysSoBeforeTheFirstWrite) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, kKinds[0]),
                      target = folder.sparse_file("target.img", kLarge);
    put_program(folder, "mount",
                "case \"$*\" in *-o\\ ro,*) exec /bin/mount \"$@\" ;; esac\n"
                "echo 'mount: can only be safely mounted read only' >&2\nexit 32\n");
    RunOptions options;
    options.extra_environment = {"PATH=" + folder.file("bin") + ":" + std::getenv("PATH")};
    const std::string before = file_sha256(source);
    const RunResult result = run_dupengine({"copy", "--yes", "--grow", source, target}, options);
    EXPECT_EQ(result.status, 9) << result.err;
    EXPECT_NE(result.err.find("can only be safely mounted read only"), std::string::npos) << result.err;
    EXPECT_EQ(file_sha256(source), before) << "the source was written";
}

TEST(CopyGrowsXfs, OntoOtherSectorsAsWell) {
    const ScratchFolder folder;
    const Kind kind = {"Xfs",
                       {"mkfs.xfs", "-q", "-f", "--unsupported", "-s", "size=4096"},
                       "xfs",
                       "nouuid",
                       {"xfs_repair", "-n"}};
    const std::string source = make_source(folder, kind), before = file_sha256(source);
    const LoopDevice from(source), to(folder.sparse_file("target.img", kLarge), {.sector_bytes = 4096});
    const RunResult result = run_dupengine({"copy", "--json", "--yes", "--grow", from.path(), to.path()});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(file_sha256(source), before) << "the source was written";
    const json report = json::parse(result.out);
    ASSERT_TRUE(report["plan"].contains("grow")) << report["notes"];
    Kind grown = kind;
    grown.sector_bytes = 4096;
    const Extent place{kMiB, kMiB + report["plan"]["grow"]["to_bytes"].get<std::uint64_t>()};
    const Seen one = look_inside(folder, kind, source, {kMiB, kSmall - kMiB});
    const Seen other = look_inside(folder, grown, folder.file("target.img"), place);
    EXPECT_EQ(one.files, other.files);
    EXPECT_GT(other.bytes, place.size() - place.size() / 8);
}

// The kernel does not say which it is.
TEST(CopyGrowsXfs, ADiskThatCannotBeReadIsNotTakenForAKernelThatCannotMount) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, kKinds[0]), part = folder.file("part"),
                      target = folder.sparse_file("target.img", kLarge);
    extract_range(source, {kMiB, kSmall - kMiB}, part);
    const auto number = [&](const std::string& where, const std::string& what) {
        const std::string text = must_run({"xfs_db", "-r", "-c", where, "-c", what, part});
        return std::stoull(text.substr(text.find_last_of(' ') + 1));
    };
    // Of what is read with the folder, and by nobody but a mount; at its begin btrfs would have a superblock.
    const std::uint64_t root = 16 + number(fmt::format("inode {}", number("sb 0", "p rootino")), "daddr");
    const FaultyDisk faulty(folder, source, {.sector = kMiB / 512 + root, .on_read = true});
    const RunResult result = run_dupengine({"copy", "--yes", "--grow", faulty.path(), target});
    EXPECT_EQ(result.status, 4) << result.err;
    EXPECT_THAT(result.err, testing::HasSubstr("Input/output error"));
    EXPECT_EQ(must_run({"du", "--block-size=1", target}), "0\t" + target + "\n") << "it was written";
}

// xfs_growfs runs while the copy is mounted where nobody sees it.
TEST(CopyGrowsXfs, AnInterruptionLeavesNoMountNoDeviceAndAnUnfinishedDisk) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, kKinds[0]),
                      target = folder.sparse_file("target.img", kLarge);
    put_program(folder, "xfs_growfs",
                "cp /proc/self/mounts '" + folder.file("seen") + "'\necho $$ > '" + folder.file("started") +
                    "'\nexec sleep 300\n");
    const RunResult result =
        run_program({"env", "F=" + folder.path(), fmt::format("D={}", test::command()), "sh", "-c",
                     "env PATH=\"$F/bin:$PATH\" \"$D\" copy --yes --json --progress=none --grow "
                     "\"$F/source.img\" \"$F/target.img\" & "
                     "copy=$!; for i in $(seq 600); do [ -s \"$F/started\" ] && break; sleep 0.05; done; cp "
                     "/proc/self/mounts "
                     "\"$F/outside\"; kill -TERM $copy; wait $copy"});
    EXPECT_EQ(result.status, 10) << result.err;
    std::string process;
    std::ifstream(folder.file("started")) >> process;
    ASSERT_FALSE(process.empty()) << "xfs_growfs was never reached: the test showed nothing";
    EXPECT_FALSE(std::filesystem::exists("/proc/" + process)) << "it goes on writing";
    EXPECT_TRUE(file_contains(folder.file("seen"), " /sys/fs/xfs xfs "));
    EXPECT_FALSE(file_contains(folder.file("outside"), " /sys/fs/xfs ")) << "others saw the mount";
    EXPECT_EQ(must_run({"losetup", "--associated", target}), "") << "a loop device was left";
    const json seen = json::parse(run_dupengine({"inspect", "--json", target}).out);
    EXPECT_TRUE(seen["incomplete"].is_object()) << "a half-grown filesystem looks complete";
    const RunResult again = run_dupengine({"copy", "--yes", "--grow", source, target});
    EXPECT_EQ(again.status, 0) << again.err;
}

}  // namespace
}  // namespace dupengine::test
