// Used extents of btrfs against the real kernel: filesystems aged on a loop device, unmounted or cut off in
// the middle.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/fd.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

struct Make {
    std::vector<std::string> mkfs;
    const char* options;  // of mount
};

// The makes of btrfs through which the seeds go.
const std::vector<Make> kMakes = {
    {{}, "compress-force=zstd:1"},
    {{"-M"}, "noatime"},
    {{"-n", "4096"}, "compress=lzo"},
    {{"--csum", "xxhash"}, "max_inline=0"},
    {{"--csum", "sha256", "-m", "single"}, "nodatacow"},
    {{"-d", "dup"}, "flushoncommit"},
    {{"-n", "65536", "-R", "^free-space-tree"}, "autodefrag"},
};

std::string make_btrfs(const ScratchFolder& scratch, const Make& make) {
    const std::string image = scratch.sparse_file("image", 384 * kMiB);
    std::vector<std::string> argv = {"mkfs.btrfs", "-q", "-f"};
    argv.insert(argv.end(), make.mkfs.begin(), make.mkfs.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

// Changes in between which snapshots come and go, files share extents, and chunks move.
void age(const std::string& folder, std::uint64_t seed) {
    SeededRandom random(seed);
    must_run({"btrfs", "subvolume", "create", folder + "/volume"});
    Churn churn(folder + "/volume", seed);
    std::vector<std::string> snapshots;
    for (unsigned round = 0; round < 6; ++round) {
        churn.run(70);
        snapshots.push_back(fmt::format("{}/snapshot{}", folder, round));
        must_run({"btrfs", "subvolume", "snapshot", folder + "/volume", snapshots.back()});
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder + "/volume"))
            if (entry.is_regular_file() && random.below(10) == 0)
                run_program({"cp", "--reflink=always", entry.path(),
                             fmt::format("{}/volume/clone{}", folder, random.below(20))});
        if (random.below(2) == 0) {
            must_run({"btrfs", "subvolume", "delete", snapshots[random.below(snapshots.size())]});
            snapshots.erase(std::remove_if(snapshots.begin(), snapshots.end(),
                                           [](const auto& path) { return !std::filesystem::exists(path); }),
                            snapshots.end());
        }
        if (random.below(3) == 0) run_program({"btrfs", "balance", "start", "-dusage=60", folder});
    }
    Churn(folder, seed + 1).run(50);
}

// What btrfs itself counts: the used bytes of all block groups, twice for DUP.
std::uint64_t bytes_in_block_groups(const std::string& image) {
    std::istringstream lines(must_run({"btrfs", "inspect-internal", "dump-tree", "-t", "extent", image}));
    std::uint64_t sum = 0;
    const std::string words = "block group used ";
    for (std::string line; std::getline(lines, line);) {
        const std::size_t at = line.find(words);
        if (at == std::string::npos) continue;
        const std::uint64_t copies = line.find("DUP") != std::string::npos ? 2 : 1;
        sum += copies * std::stoull(line.substr(at + words.size()));
    }
    return sum;
}

void expect_sound(const ScratchFolder& scratch, const std::string& image) {
    const RunResult check = run_program({"btrfs", "check", "--readonly", "--check-data-csum", image});
    EXPECT_EQ(check.status, 0) << check.out << check.err;
    const LoopDevice loop(image);
    const Mount mount(loop.path(), scratch.file("mnt"), "btrfs");
    const RunResult scrub = run_program({"btrfs", "scrub", "start", "-B", scratch.file("mnt")});
    EXPECT_EQ(scrub.status, 0) << scrub.out << scrub.err;
    EXPECT_NE(scrub.out.find("no errors found"), std::string::npos) << scrub.out;
}

class AgedBtrfs : public testing::TestWithParam<std::uint64_t> {};

TEST_P(AgedBtrfs, ACleanlyUnmountedFilesystemIsCopiedWithoutItsFreeSpace) {
    const ScratchFolder scratch;
    const Make& make = kMakes[GetParam() % kMakes.size()];
    const std::string image = make_btrfs(scratch, make), copy = scratch.file("copy");
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt"), "btrfs", make.options);
        age(scratch.file("mnt"), GetParam());
    }
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "btrfs");
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    EXPECT_EQ(look.used.used.total_bytes(), bytes_in_block_groups(image) + kMiB + 4 * kKiB);
    EXPECT_LT(look.used.used.total_bytes(), 300 * kMiB);
    rebuild(image, look.used, std::byte{0xA5}, copy);
    expect_same_mounted(scratch, image, copy, "btrfs", "ro");
    expect_sound(scratch, copy);
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedBtrfs, aged_seeds());

// Whether there is a log to be replayed, as btrfs itself prints it.
bool has_log(const std::string& image) {
    std::istringstream lines(must_run({"btrfs", "inspect-internal", "dump-super", image}));
    for (std::string line; std::getline(lines, line);)
        if (line.rfind("log_root\t", 0) == 0) return line.find_first_of("123456789") != std::string::npos;
    throw_error(Code::kInternal, "btrfs says nothing of a log");
}

struct Cut {
    const char* options;  // of mount
    bool log;             // fsync writes one
};

class CutOffBtrfs : public testing::TestWithParam<std::uint64_t> {
  protected:
    // Files that were flushed, and the image as a power cut leaves it then.
    void make_cut(const Cut& cut) {
        const Make& make = kMakes[GetParam() % kMakes.size()];
        const std::string image = make_btrfs(scratch_, make), folder = scratch_.file("mnt");
        const LoopDevice loop(image);
        const Mount mount(loop.path(), folder, "btrfs", std::string("commit=300,") + cut.options);
        Churn(folder, GetParam()).run(100);
        must_run({"sync", "--file-system", folder});
        SeededRandom random(GetParam());
        for (unsigned i = 0; i < 30; ++i) {
            const std::string path = fmt::format("{}/flushed{}", folder, i);
            Bytes content(1 + random.below(i % 5 == 0 ? 700000 : 9000));
            fill_pattern(content, random.next());
            const Fd fd = open_path(path, O_RDWR | O_CREAT, Code::kInternal);
            pwrite_exact(fd.get(), 0, content, Code::kInternal, path);
            if (::fsync(fd.get()) != 0) throw_errno(Code::kInternal, errno, "{}: fsync", path);
            flushed_.push_back(std::move(content));
        }
        must_run({"cp", "--sparse=always", image, scratch_.file("cut")});
    }

    void expect_copy_has_flushed_files() {
        const std::string cut = scratch_.file("cut"), copy = scratch_.file("copy");
        const Look look = look_at(cut);
        ASSERT_FALSE(look.used.whole) << look.used.reason;
        EXPECT_EQ(look.used.note.empty(), !has_log(cut)) << look.used.note;
        rebuild(cut, look.used, std::byte{0xA5}, copy);
        {
            const LoopDevice loop(copy);
            const Mount mount(loop.path(), scratch_.file("mnt"), "btrfs");
            for (unsigned i = 0; i < flushed_.size(); ++i)
                EXPECT_TRUE(read_file(fmt::format("{}/mnt/flushed{}", scratch_.path(), i), Code::kInternal) ==
                            as_text(flushed_[i]))
                    << "file " << i;
        }
        expect_sound(scratch_, copy);
        expect_same_mounted(scratch_, cut, copy, "btrfs", {});
    }

    ScratchFolder scratch_;
    std::vector<Bytes> flushed_;
};

TEST_P(CutOffBtrfs, WhatTheLogRefersToIsCopied) {
    make_cut({.options = "treelog", .log = true});
    EXPECT_TRUE(has_log(scratch_.file("cut")));
    expect_copy_has_flushed_files();
}

TEST_P(CutOffBtrfs, WithoutALogTheLastCommitIsCopied) {
    make_cut({.options = "notreelog", .log = false});
    EXPECT_FALSE(has_log(scratch_.file("cut")));
    expect_copy_has_flushed_files();
}

INSTANTIATE_TEST_SUITE_P(Seed, CutOffBtrfs, testing::Range<std::uint64_t>(1, 8));

TEST(BtrfsOfTwoDevices, IsCopiedWhole) {
    const ScratchFolder scratch;
    const std::string one = scratch.sparse_file("one", 256 * kMiB),
                      other = scratch.sparse_file("other", 256 * kMiB);
    const LoopDevice first(one), second(other);
    must_run({"mkfs.btrfs", "-q", "-f", "-d", "raid1", "-m", "raid1", first.path(), second.path()});
    for (const std::string& image : {one, other}) {
        const Look look = look_at(image);
        EXPECT_TRUE(look.used.whole);
        EXPECT_EQ(look.used.reason, "btrfs: it is one of 2 devices of a filesystem");
    }
    run_program({"btrfs", "device", "scan", "--forget", first.path()});
    run_program({"btrfs", "device", "scan", "--forget", second.path()});
}

}  // namespace
}  // namespace dupengine::test
