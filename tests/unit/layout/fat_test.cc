// FAT12, FAT16 and FAT32 by the real mkfs.fat and mtools: a copy of the used extents alone must be the same
// filesystem.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

struct Variant {
    const char* name;
    std::uint64_t size_kib;
    std::vector<std::string> arguments;
    const char* version;  // as libblkid calls it
};

void PrintTo(const Variant& variant, std::ostream* out) {
    *out << variant.name;
}

class FatVariant : public testing::TestWithParam<Variant> {};

const RunOptions kMtools = {.input = "", .extra_environment = {"MTOOLS_SKIP_CHECK=1"}};

// Files in two folders; those that were deleted again leave holes.
std::string make_fat(const ScratchFolder& scratch, const Variant& variant, const std::string& tree) {
    const std::string image = scratch.sparse_file("image", variant.size_kib * kKiB);
    std::vector<std::string> argv = {"mkfs.fat", "-n", "A LABEL", "-i", "1234ABCD"};
    argv.insert(argv.end(), variant.arguments.begin(), variant.arguments.end());
    argv.push_back(image);
    must_run(argv);
    std::filesystem::create_directories(tree + "/folder");
    for (unsigned i = 0; i < 24; ++i) {
        Bytes content(1 + i * 1700);
        fill_pattern(content, i);
        write_file_atomic(fmt::format("{}/{}file{}", tree, i % 3 == 0 ? "folder/" : "", i), content, 0644,
                          Code::kInternal);
    }
    must_run({"mcopy", "-s", "-i", image, tree + "/folder", "::"}, kMtools);
    for (unsigned i = 0; i < 24; ++i)
        if (i % 3 != 0) must_run({"mcopy", "-i", image, fmt::format("{}/file{}", tree, i), "::"}, kMtools);
    for (unsigned i = 1; i < 24; i += 6) {
        must_run({"mdel", "-i", image, fmt::format("::file{}", i)}, kMtools);
        std::filesystem::remove(fmt::format("{}/file{}", tree, i));
    }
    return image;
}

// A number in what fsck.fat -nv says.
std::uint64_t number_after(const std::string& text, const std::string& words) {
    const std::size_t at = text.rfind(words);
    if (at == std::string::npos) throw_error(Code::kInternal, "no '{}' in: {}", words, text);
    return std::stoull(text.substr(at + words.size()));
}

void expect_copy_is_complete(const ScratchFolder& scratch, const std::string& image,
                             const std::string& tree) {
    const Look look = look_at(image);
    for (std::byte fill : {std::byte{0}, std::byte{0xAA}}) {
        const std::string copy = scratch.file("copy"), found = scratch.file("found");
        rebuild(image, look.used, fill, copy);
        const RunResult check = run_program({"fsck.fat", "-n", copy});
        EXPECT_EQ(check.status, 0) << check.out;
        std::filesystem::create_directories(found);
        must_run({"mcopy", "-s", "-n", "-i", copy, "::", found}, kMtools);
        const RunResult difference = run_program({"diff", "-r", tree, found});
        EXPECT_EQ(difference.status, 0) << difference.complaint();
        std::filesystem::remove_all(found);
    }
}

TEST_P(FatVariant, UsedExtentsHoldEveryFileAndNoFreeCluster) {
    const ScratchFolder scratch;
    const std::string tree = scratch.file("tree"), image = make_fat(scratch, GetParam(), tree);
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "vfat");
    EXPECT_EQ(look.signature->version, GetParam().version);
    EXPECT_EQ(look.signature->uuid, "1234-ABCD");
    EXPECT_EQ(look.signature->label, "A LABEL");
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    expect_copy_is_complete(scratch, image, tree);

    const std::string report = must_run({"fsck.fat", "-nv", image});
    const std::uint64_t cluster = number_after(report, " bytes per logical sector\n");
    EXPECT_EQ(look.used.used.clipped_to({0, look.used.filesystem_bytes}).total_bytes(),
              number_after(report, "Data area starts at byte ") + number_after(report, " files, ") * cluster);
    EXPECT_GT(look.used.used.count(), 2u);  // the deleted files are holes
}

const Variant kVariants[] = {
    {"fat12", 4 * 1024, {"-F", "12"}, "FAT12"},
    {"fat12_of_a_floppy_disk", 1440, {"-F", "12"}, "FAT12"},
    {"fat16", 32 * 1024, {"-F", "16"}, "FAT16"},
    {"fat16_with_large_clusters", 200 * 1024, {"-F", "16", "-s", "64"}, "FAT16"},
    {"fat16_with_one_fat", 32 * 1024, {"-F", "16", "-f", "1"}, "FAT16"},
    {"fat32", 64 * 1024, {"-F", "32", "-s", "1"}, "FAT32"},
    {"fat32_of_an_efi_partition", 512 * 1024, {"-F", "32"}, "FAT32"},
    {"fat32_with_many_reserved_sectors", 64 * 1024, {"-F", "32", "-s", "1", "-R", "700"}, "FAT32"},
    {"fat32_with_4K_sectors", 300 * 1024, {"-F", "32", "-S", "4096", "-s", "1"}, "FAT32"},
    {"fat16_with_4K_sectors", 64 * 1024, {"-F", "16", "-S", "4096"}, "FAT16"},
};

INSTANTIATE_TEST_SUITE_P(Made, FatVariant, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

// A small FAT16 or FAT32 in memory, to be damaged.
class DamagedFat : public testing::Test {
  protected:
    void make(const char* width) {
        image_ = scratch_.sparse_file("image", 40 * kMiB);
        must_run({"mkfs.fat", "-F", width, "-s", std::string(width) == "16" ? "4" : "1", image_});
        disk_ = std::make_unique<MemoryDevice>(load_file(image_));
    }
    void put16(ByteOffset at, std::uint16_t value) { store_le<std::uint16_t>(bytes(), at, value); }
    void put32(ByteOffset at, std::uint32_t value) { store_le<std::uint32_t>(bytes(), at, value); }
    std::span<std::byte> bytes() { return disk_->bytes()->content; }
    std::uint64_t fat_begin() { return load_le<std::uint16_t>(bytes(), 14) * 512u; }
    std::uint64_t fat_bytes() {
        const auto fat16 = load_le<std::uint16_t>(bytes(), 22);
        return (fat16 != 0 ? fat16 : load_le<std::uint32_t>(bytes(), 36)) * 512u;
    }
    layout::UsedExtents look() { return used_as(*disk_, "vfat"); }
    void expect_whole(const std::string& reason) {
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole);
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, 40 * kMiB}}));
    }
    ScratchFolder scratch_;
    std::string image_;
    std::unique_ptr<MemoryDevice> disk_;
};

TEST_F(DamagedFat, ImpossibleBootSectorsAreCopiedWhole) {
    make("32");
    const Bytes good(bytes().begin(), bytes().begin() + 512);
    const auto with = [&](auto change, const std::string& reason) {
        change();
        expect_whole(reason);
        std::copy(good.begin(), good.end(), bytes().begin());
    };
    with([&] { put16(510, 0); }, "boot signature");
    with([&] { put16(11, 0); }, "0 bytes a sector");
    with([&] { put16(11, 640); }, "640 bytes a sector");
    with([&] { bytes()[13] = std::byte{3}; }, "3 sectors a cluster");
    with([&] { put16(14, 0); }, "0 reserved sectors");
    with([&] { bytes()[16] = std::byte{0}; }, "0 FATs");
    with([&] { put16(17, 512); }, "a root directory of 512 entries");
    with([&] { bytes()[21] = std::byte{0x11}; }, "media byte 0x11");
    with([&] { put32(32, 0xFFFFFFFF); }, "the partition has 41943040");
    with([&] { put32(36, 0xFFFFFFFF); }, "no room for a cluster");
    with([&] { put32(36, 2); }, "too small for");
    with([&] { put16(42, 1); }, "version 0x1");
    with([&] { put32(44, 1); }, "begins at cluster 1");
    with([&] { put32(44, 0x0FFFFFF0); }, "begins at cluster 268435440");
    with([&] { put16(40, 0x8F); }, "FAT 15 is the active one of 2");
    with([&] { std::memcpy(&bytes()[3], "NTFS    ", 8); }, "of NTFS");
    with([&] { std::memcpy(&bytes()[3], "EXFAT   ", 8); }, "of EXFAT");
    EXPECT_FALSE(look().whole);
}

TEST_F(DamagedFat, AForeignFirstEntryMeansThatTheFatIsSomewhereElse) {
    make("16");
    put16(fat_begin(), 0x1234);
    expect_whole("the FAT begins with");
}

TEST_F(DamagedFat, ABadClusterIsNotReadButItsMarkIsCopied) {
    for (const char* width : {"16", "32"}) {
        make(width);
        const std::uint64_t before = look().used.total_bytes();
        for (std::uint64_t copy = 0; copy < 2; ++copy) {
            if (std::string(width) == "16")
                put16(fat_begin() + copy * fat_bytes() + 100 * 2, 0xFFF7);
            else
                put32(fat_begin() + copy * fat_bytes() + 100 * 4, 0x0FFFFFF7);
        }
        const layout::UsedExtents used = look();
        EXPECT_EQ(used.used.total_bytes(), before);
        EXPECT_TRUE(used.used.contains({0, fat_begin() + 2 * fat_bytes()}));
    }
}

TEST_F(DamagedFat, WhatEitherOfTwoDisagreeingFatsCallsUsedIsCopied) {
    make("32");
    const std::uint64_t before = look().used.total_bytes();
    put32(fat_begin() + 500 * 4, 0x0FFFFFFF);
    put32(fat_begin() + fat_bytes() + 900 * 4, 0x0FFFFFFF);
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole);
    EXPECT_EQ(used.used.total_bytes(), before + 2 * 512);
    EXPECT_NE(used.note.find("disagree"), std::string::npos) << used.note;
}

TEST_F(DamagedFat, OnlyTheActiveFatCountsWhereMirroringIsOff) {
    make("32");
    const std::uint64_t before = look().used.total_bytes();
    put16(40, 0x81);  // only FAT 1 is kept up to date
    put32(fat_begin() + 500 * 4, 0x0FFFFFFF);
    put32(fat_begin() + fat_bytes() + 900 * 4, 0x0FFFFFFF);
    put32(fat_begin() + fat_bytes() + 901 * 4, 0x0FFFFFFF);
    const layout::UsedExtents used = look();
    EXPECT_EQ(used.used.total_bytes(), before + 2 * 512);
    EXPECT_EQ(used.note, "only FAT 1 is kept up to date");
}

TEST_F(DamagedFat, AFilesystemThatWasNotUnmountedIsCopiedWithANote) {
    make("16");
    bytes()[37] = std::byte{1};
    EXPECT_EQ(look().note, "not unmounted cleanly; copied as it is");
    make("32");
    for (std::uint64_t copy = 0; copy < 2; ++copy)
        put32(fat_begin() + copy * fat_bytes() + 4, 0x07FFFFFF);
    EXPECT_EQ(look().note, "not unmounted cleanly; copied as it is");
    for (std::uint64_t copy = 0; copy < 2; ++copy)
        put32(fat_begin() + copy * fat_bytes() + 4, 0x0BFFFFFF);
    EXPECT_EQ(look().note, "a driver met disk errors on it; copied as it is");
}

// mkfs.fat -F 32 makes them, fsck.fat and Linux read them as FAT32: the boot sector says so.
TEST_F(DamagedFat, ASmallFat32IsReadWith32BitEntries) {
    image_ = scratch_.sparse_file("image", 32 * kMiB);
    must_run({"mkfs.fat", "-F", "32", "-s", "1", image_});
    disk_ = std::make_unique<MemoryDevice>(load_file(image_));
    const std::uint64_t before = look().used.total_bytes();
    for (std::uint64_t copy = 0; copy < 2; ++copy)
        put32(fat_begin() + copy * fat_bytes() + 1000 * 4, 0x0FFFFFFF);
    const std::uint64_t at = fat_begin() + 2 * fat_bytes() + (1000 - 2) * 512;
    EXPECT_EQ(look().used.total_bytes(), before + 512);
    EXPECT_TRUE(look().used.contains({at, at + 512}));
}

TEST_F(DamagedFat, EveryCopyOfTheFatIsCopied) {
    image_ = scratch_.sparse_file("image", 40 * kMiB);
    must_run({"mkfs.fat", "-F", "32", "-s", "1", "-f", "4", image_});
    disk_ = std::make_unique<MemoryDevice>(load_file(image_));
    EXPECT_EQ(look().used, block::ExtentSet({{0, fat_begin() + 4 * fat_bytes() + 512}}));
}

TEST_F(DamagedFat, AnEntryOnTheBorderOfTwoPiecesIsNotLost) {
    // FAT32 is read in pieces of 196608 entries; a disk of more clusters than that.
    image_ = scratch_.sparse_file("image", 128 * kMiB);
    must_run({"mkfs.fat", "-F", "32", "-s", "1", image_});
    disk_ = std::make_unique<MemoryDevice>(load_file(image_));
    const std::uint64_t before = look().used.total_bytes(), data = fat_begin() + 2 * fat_bytes();
    for (std::uint64_t cluster : {196606u, 196607u, 196608u, 196609u, 250000u})
        for (std::uint64_t copy = 0; copy < 2; ++copy)
            put32(fat_begin() + copy * fat_bytes() + cluster * 4, 0x0FFFFFFF);
    const layout::UsedExtents used = look();
    EXPECT_EQ(used.used.total_bytes(), before + 5 * 512);
    EXPECT_TRUE(used.used.contains({data + (196606 - 2) * 512, data + (196610 - 2) * 512}));
    EXPECT_TRUE(used.used.contains({data + (250000 - 2) * 512, data + (250001 - 2) * 512}));
}

TEST_F(DamagedFat, AReadErrorIsAnErrorAndNotAReasonToCopyWhole) {
    make("32");
    disk_->set_interceptor([this](std::size_t, const Call& call) {
        if (call.extent.begin == fat_begin()) throw_error(Code::kSourceIo, "EIO");
    });
    EXPECT_THROW(look(), Error);
}

}  // namespace
}  // namespace dupengine::test
