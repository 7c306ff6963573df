// ext2, ext3 and ext4 of every make: a copy of the used extents alone must be the same filesystem.

#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

struct Variant {
    const char* name;
    std::uint64_t size_kib;
    std::vector<std::string> arguments;
};

void PrintTo(const Variant& variant, std::ostream* out) {
    *out << variant.name;
}

class ExtVariant : public testing::TestWithParam<Variant> {};

// Rebuilds from the used extents, over zeros and over old data: both must pass e2fsck and hold the image's
// files.
void expect_copy_is_complete(const ScratchFolder& scratch, const std::string& image, const Look& look) {
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    const std::string wanted = scratch.file("wanted");
    extract_ext(image, wanted);
    ASSERT_GT(std::filesystem::file_size(wanted + "/deep/er/still/large"), 3 * kMiB);
    for (std::byte fill : {std::byte{0}, std::byte{0xAA}}) {
        const std::string copy = scratch.file("copy"), found = scratch.file("found");
        rebuild(image, look.used, fill, copy);
        const RunResult check = run_program({"e2fsck", "-fn", copy});
        EXPECT_EQ(check.status, 0) << check.out;
        extract_ext(copy, found);
        const RunResult difference = run_program({"diff", "-r", "--no-dereference", wanted, found});
        EXPECT_EQ(difference.status, 0) << difference.complaint();
        std::filesystem::remove_all(found);
    }
    std::filesystem::remove_all(wanted);
}

void expect_no_free_block(const std::string& image, const Look& look) {
    const std::uint64_t block_bytes = dumpe2fs_number(image, "Block size");
    const std::uint64_t blocks = dumpe2fs_number(image, "Block count");
    EXPECT_EQ(look.used.block_bytes, block_bytes);
    EXPECT_EQ(look.used.filesystem_bytes, blocks * block_bytes);
    const std::uint64_t used = look.used.used.clipped_to({0, look.used.filesystem_bytes}).total_bytes();
    const std::uint64_t blank = look.used.blank.total_bytes();
    EXPECT_EQ((used + blank) / block_bytes, blocks - dumpe2fs_number(image, "Free blocks"));
    EXPECT_LT(used, look.used.filesystem_bytes * 9 / 10);
}

// mke2fs -d leaves quota files that e2fsck wants updated; afterwards the image is clean.
std::string make_checked_ext(const ScratchFolder& scratch, const Variant& variant, std::uint64_t seed) {
    const std::string tree = make_tree(scratch, "tree", seed);
    const std::string image = make_ext(scratch, "image", variant.size_kib * kKiB, variant.arguments, tree);
    run_program({"e2fsck", "-fy", image});
    must_run({"e2fsck", "-fn", image});
    return image;
}

TEST_P(ExtVariant, UsedExtentsHoldEveryFileAndNoFreeBlock) {
    const ScratchFolder scratch;
    const std::string image = make_checked_ext(scratch, GetParam(), 1);
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.used.note, "");
    expect_copy_is_complete(scratch, image, look);
    expect_no_free_block(image, look);
}

const Variant kVariants[] = {
    {"ext2", 65536, {"-t", "ext2"}},
    {"ext2_with_1K_blocks", 40960, {"-t", "ext2", "-b", "1024"}},
    {"ext2_of_revision_0", 40960, {"-t", "ext2", "-r", "0"}},
    {"ext2_without_sparse_super", 65536, {"-t", "ext2", "-O", "^sparse_super,^resize_inode", "-g", "2048"}},
    {"ext3", 65536, {"-t", "ext3"}},
    {"ext3_with_1K_blocks", 65536, {"-t", "ext3", "-b", "1024"}},
    {"ext4", 307200, {"-t", "ext4"}},
    {"ext4_with_1K_blocks", 65536, {"-t", "ext4", "-b", "1024"}},
    {"ext4_with_2K_blocks", 65536, {"-t", "ext4", "-b", "2048"}},
    {"ext4_with_64K_blocks", 131072, {"-t", "ext4", "-b", "65536"}},
    {"ext4_of_many_groups", 131072, {"-t", "ext4", "-g", "1024"}},
    {"ext4_of_the_smallest_groups", 49152, {"-t", "ext4", "-b", "1024", "-g", "256", "-N", "4096"}},
    {"ext4_whose_last_group_is_short", 78848, {"-t", "ext4", "-g", "4096"}},
    {"ext4_without_flex_bg", 131072, {"-t", "ext4", "-O", "^flex_bg", "-g", "2048"}},
    {"ext4_with_large_flex_groups", 131072, {"-t", "ext4", "-G", "64", "-g", "1024"}},
    {"ext4_with_packed_metadata", 131072, {"-t", "ext4", "-E", "packed_meta_blocks=1", "-g", "2048"}},
    {"ext4_with_meta_bg", 131072, {"-t", "ext4", "-O", "meta_bg,^resize_inode", "-g", "1024"}},
    {"ext4_with_meta_bg_and_1K_blocks",
     131072,
     {"-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "1024"}},
    {"ext4_with_sparse_super2",
     131072,
     {"-t", "ext4", "-O", "sparse_super2", "-E", "num_backup_sb=2", "-g", "2048"}},
    {"ext4_with_sparse_super2_and_no_backup",
     65536,
     {"-t", "ext4", "-O", "sparse_super2", "-E", "num_backup_sb=0"}},
    {"ext4_of_32_bits", 65536, {"-t", "ext4", "-O", "^64bit"}},
    {"ext4_without_a_journal", 65536, {"-t", "ext4", "-O", "^has_journal"}},
    {"ext4_with_bigalloc", 262144, {"-t", "ext4", "-O", "bigalloc", "-C", "65536"}},
    {"ext4_with_bigalloc_and_1K_blocks",
     102400,
     {"-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384"}},
    {"ext4_with_bigalloc_that_ends_within_a_cluster",
     204820,
     {"-t", "ext4", "-O", "bigalloc", "-C", "65536"}},
    {"ext4_with_uninit_bg_checksums", 131072, {"-t", "ext4", "-O", "^metadata_csum,uninit_bg", "-g", "2048"}},
    {"ext4_without_checksums", 131072, {"-t", "ext4", "-O", "^metadata_csum,^uninit_bg", "-g", "2048"}},
    {"ext4_with_lazy_inode_tables", 131072, {"-t", "ext4", "-E", "lazy_itable_init=1", "-g", "2048"}},
    {"ext4_with_a_checksum_seed", 65536, {"-t", "ext4", "-O", "metadata_csum_seed"}},
    {"ext4_with_inline_data", 65536, {"-t", "ext4", "-O", "inline_data", "-I", "256"}},
    {"ext4_with_mmp", 65536, {"-t", "ext4", "-O", "mmp"}},
    {"ext4_with_quota_and_project", 65536, {"-t", "ext4", "-O", "quota,project"}},
    {"ext4_with_casefold_and_encrypt",
     65536,
     {"-t", "ext4", "-O", "casefold,encrypt", "-E", "encoding=utf8"}},
    {"ext4_with_verity_and_large_dir",
     65536,
     {"-t", "ext4", "-O", "verity,large_dir,ea_inode,stable_inodes"}},
    {"ext4_with_fast_commit_and_orphan_file", 65536, {"-t", "ext4", "-O", "fast_commit,orphan_file"}},
};

INSTANTIATE_TEST_SUITE_P(Made, ExtVariant, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

// Grown and shrunk by many small changes, so that the free blocks lie scattered.
class AgedExt : public testing::TestWithParam<std::uint64_t> {};

TEST_P(AgedExt, UsedExtentsHoldEveryFileAndNoFreeBlock) {
    SeededRandom random(GetParam());
    const ScratchFolder scratch;
    const Variant variant = {"aged", 64 * 1024, {"-t", "ext4", "-b", random.below(2) == 0 ? "1024" : "4096"}};
    const std::string image = make_checked_ext(scratch, variant, GetParam());
    const std::string from = scratch.path() + "/tree";
    std::string commands;
    for (unsigned step = 0; step < 120; ++step) {
        const std::string name = fmt::format("aged{}", random.below(30));
        switch (random.below(3)) {
            case 0:
                commands += fmt::format("rm {}\n", name);
                break;
            case 1:
                commands += fmt::format("punch {} {} {}\n", name, random.below(40), 40 + random.below(400));
                break;
            default:
                commands += fmt::format("write \"{}/{}\" {}\n", from,
                                        random.below(3) == 0 ? "deep/er/still/large" : "sparse", name);
        }
    }
    for (unsigned i = 0; i < 150; ++i)
        if (random.below(2) == 0) commands += fmt::format("rm \"many/file with a rather long name {}\"\n", i);
    must_run({"debugfs", "-w", "-f", "-", image}, {.input = commands, .extra_environment = {}});
    must_run({"e2fsck", "-fn", image});
    const Look look = look_at(image);
    EXPECT_GT(look.used.used.count(), 20u);
    expect_copy_is_complete(scratch, image, look);
    expect_no_free_block(image, look);
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedExt, testing::Range<std::uint64_t>(1, 7));

TEST(ResizedExt, AFilesystemThatGrewIsReadInFull) {
    const ScratchFolder scratch;
    const std::string image =
        make_checked_ext(scratch, {"grows", 48 * 1024, {"-t", "ext4", "-b", "1024", "-g", "1024"}}, 1);
    must_run({"truncate", "--size=96M", image});
    must_run({"resize2fs", image});
    const Look look = look_at(image);
    EXPECT_EQ(look.used.filesystem_bytes, 96 * kMiB);
    expect_copy_is_complete(scratch, image, look);
    expect_no_free_block(image, look);
}

// Nobody can tell the rest of the old filesystem from a RAID superblock or something appended there.
TEST(ResizedExt, WhatLiesBehindAFilesystemThatShrankIsCopiedToo) {
    const ScratchFolder scratch;
    const std::string image = make_checked_ext(scratch, {"shrinks", 96 * 1024, {"-t", "ext4"}}, 1);
    must_run({"resize2fs", image, "40M"});
    must_run({"truncate", "--size=96M", image});
    const Look look = look_at(image);
    EXPECT_EQ(look.used.filesystem_bytes, 40 * kMiB);
    EXPECT_TRUE(look.used.used.contains(block::Extent{40 * kMiB, 96 * kMiB}));
    EXPECT_LT(look.used.used.clipped_to({0, 40 * kMiB}).total_bytes(), 39 * kMiB);
    expect_copy_is_complete(scratch, image, look);
}

}  // namespace
}  // namespace dupengine::test
