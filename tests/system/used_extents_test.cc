// Used extents against the real kernel: filesystems aged on a loop device, unmounted or cut off in the
// middle.

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "block/open.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

// The makes of ext4 through which the seeds go.
const std::vector<std::vector<std::string>> kMakes = {
    {"-t", "ext4"},
    {"-t", "ext4", "-b", "1024"},
    {"-t", "ext4", "-g", "1024"},
    {"-t", "ext4", "-O", "^64bit,^metadata_csum"},
    {"-t", "ext4", "-O", "bigalloc", "-C", "16384"},
    {"-t", "ext3", "-b", "1024"},
    {"-t", "ext4", "-O", "inline_data,meta_bg,^resize_inode", "-g", "1024"},
};

std::string make_aged(const ScratchFolder& scratch, std::uint64_t seed) {
    return make_ext(scratch, "image", 96 * kMiB, kMakes[seed % kMakes.size()], "");
}

void expect_same_files(const ScratchFolder& scratch, const std::string& one, const std::string& other) {
    extract_ext(one, scratch.file("one"));
    extract_ext(other, scratch.file("other"));
    const RunResult result =
        run_program({"diff", "-r", "--no-dereference", scratch.file("one"), scratch.file("other")});
    EXPECT_EQ(result.status, 0) << result.complaint();
    EXPECT_FALSE(std::filesystem::is_empty(scratch.file("one")));
}

class AgedByTheKernel : public testing::TestWithParam<std::uint64_t> {};

TEST_P(AgedByTheKernel, ACleanlyUnmountedFilesystemIsCopiedWithoutItsFreeBlocks) {
    const ScratchFolder scratch;
    const std::string image = make_aged(scratch, GetParam());
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt"));
        Churn(scratch.file("mnt"), GetParam()).run(400);
    }
    const Look look = look_at(image);
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    const std::uint64_t block_bytes = dumpe2fs_number(image, "Block size");
    EXPECT_EQ((look.used.used.total_bytes() + look.used.blank.total_bytes()) / block_bytes,
              dumpe2fs_number(image, "Block count") - dumpe2fs_number(image, "Free blocks"));
    rebuild(image, look.used, std::byte{0xAA}, scratch.file("copy"));
    const RunResult check = run_program({"e2fsck", "-fn", scratch.file("copy")});
    EXPECT_EQ(check.status, 0) << check.out;
    expect_same_files(scratch, image, scratch.file("copy"));
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedByTheKernel, aged_seeds());

TEST(InodeTables, WhatNoInodeWasTakenFromIsNotReadAndIsZeroOnTheTargetAlsoWhenUnusedBytesStay) {
    const ScratchFolder scratch;
    const std::string image = make_ext(scratch, "image", 96 * kMiB, {"-t", "ext4"}, "");
    const std::string target = scratch.file("target");
    must_run({"sh", "-c", "head -c 96M /dev/zero | tr '\\0' 'x' > \"$1\"", "sh", target});
    const Look look = look_at(image);
    ASSERT_GT(look.used.blank.total_bytes(), kMiB);
    const RunResult copied = run_dupengine({"copy", "--yes", "--unused=keep", image, target});
    ASSERT_EQ(copied.status, 0) << copied.complaint();
    const auto reader = block::open_source(target);
    for (block::Extent extent : look.used.blank)
        EXPECT_TRUE(is_zero(block::read_extent(*reader, extent))) << extent.text();
    must_run({"e2fsck", "-fn", target});
}

// The ranges that the bitmaps in place call free, whatever the journal holds: "Free blocks: 12-34, 56" of
// dumpe2fs.
block::ExtentSet free_in_place(const std::string& image) {
    const std::uint64_t block_bytes = dumpe2fs_number(image, "Block size");
    std::istringstream lines(must_run({"dumpe2fs", image}));
    block::ExtentSet free;
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind("  Free blocks: ", 0) != 0) continue;
        std::istringstream ranges(line.substr(15));
        for (std::string range; std::getline(ranges, range, ',');) {
            if (range.find_first_of("0123456789") == std::string::npos) continue;
            const std::uint64_t first = std::stoull(range);
            const std::size_t dash = range.find('-');
            const std::uint64_t last =
                dash == std::string::npos ? first : std::stoull(range.substr(dash + 1));
            free.insert({first * block_bytes, (last + 1) * block_bytes});
        }
    }
    return free;
}

// What e2fsck does to it and says of it.
std::string repaired(const std::string& image) {
    const RunResult result = run_program({"e2fsck", "-fy", image});
    std::string text = fmt::format("exit {}\n{}", result.status, result.out);
    for (std::size_t at; (at = text.find(image)) != std::string::npos;)
        text.replace(at, image.size(), "IMAGE");
    return text;
}

class CutOff : public testing::TestWithParam<std::uint64_t> {};

// The image as a power cut leaves it: files were flushed, but what the kernel knows of them stands in the
// journal only. Whether it really did: on a loaded machine the kernel may have written it all in place by
// then.
bool survives_a_cut(std::uint64_t seed) {
    const ScratchFolder scratch;
    const std::string image = make_aged(scratch, seed), cut = scratch.file("cut"),
                      copy = scratch.file("copy");
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt"));
        Churn(scratch.file("mnt"), seed).run(150);
        must_run({"cp", "--sparse=always", image, cut});
    }
    // Written while it was copied: of two moments, as no cut leaves it.
    if (run_program({"dumpe2fs", cut}).status != 0) return false;
    const Look look = look_at(cut);
    EXPECT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "needs journal recovery; copied as it is");
    bool journal_mattered = false;
    for (block::Extent extent : free_in_place(cut))
        journal_mattered = journal_mattered || look.used.used.touches(extent);

    rebuild(cut, look.used, std::byte{0xAA}, copy);
    // The cut itself is the measure: the copy needs the repairs that it needs, and no other.
    EXPECT_EQ(repaired(copy), repaired(cut));
    expect_same_files(scratch, cut, copy);
    return journal_mattered;
}

TEST_P(CutOff, CommittedFilesSurviveAlthoughTheBitmapsInPlaceCallTheirBlocksFree) {
    constexpr int kAttempts = 6;
    bool journal_mattered = false;
    for (int i = 0; i < kAttempts && !journal_mattered && !HasFailure(); ++i)
        journal_mattered = survives_a_cut(GetParam());
    EXPECT_TRUE(journal_mattered)
        << "in no attempt did anything stand in the journal only: nothing was shown";
}

INSTANTIATE_TEST_SUITE_P(Seed, CutOff, testing::Range<std::uint64_t>(1, 15));

TEST(Crashed, AFilesystemWithoutAJournalIsCopiedWhole) {
    const ScratchFolder scratch;
    const std::string image = make_ext(scratch, "image", 48 * kMiB, {"-t", "ext4", "-O", "^has_journal"}, "");
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt"));
        Churn(scratch.file("mnt"), 1).run(50);
        must_run({"cp", "--sparse=always", image, scratch.file("cut")});
    }
    const Look cut = look_at(scratch.file("cut"));
    EXPECT_TRUE(cut.used.whole);
    EXPECT_NE(cut.used.reason.find("not unmounted cleanly"), std::string::npos) << cut.used.reason;
    EXPECT_FALSE(look_at(image).used.whole);
}

TEST(Frozen, AFrozenFilesystemIsReadLikeACleanOne) {
    const ScratchFolder scratch;
    const std::string image = make_ext(scratch, "image", 48 * kMiB, {"-t", "ext4"}, "");
    const LoopDevice loop(image);
    const Mount mount(loop.path(), scratch.file("mnt"));
    Churn(scratch.file("mnt"), 1).run(100);
    must_run({"fsfreeze", "--freeze", scratch.file("mnt")});
    const Look look = look_at(loop.path());
    must_run({"fsfreeze", "--unfreeze", scratch.file("mnt")});
    EXPECT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
}

}  // namespace
}  // namespace dupengine::test
