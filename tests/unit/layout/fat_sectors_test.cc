// FAT for other sectors, over what mkfs.fat makes of many parameters: held against the bytes that go in,
// against our own reader, and against fsck.fat.

#include "layout/fat_sectors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>

#include "base/random.h"
#include "block/open.h"
#include "layout/fat_entries.h"
#include "layout/fat_volume.h"
#include "layout/used_extents.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"

namespace dupengine::layout {
namespace {

using test::must_run;
using test::ScratchFolder;

constexpr std::uint64_t kSmall = 12 * kMiB;

struct Recipe {
    std::uint64_t size_bytes = 0;
    unsigned bits = 32, sector = 512, per_cluster = 8, fats = 2, reserved = 32;
    std::string text() const {
        return fmt::format("mkfs.fat -F {} -S {} -s {} -f {} -R {} on {} bytes", bits, sector, per_cluster,
                           fats, reserved, size_bytes);
    }
};

void store_entry(std::span<std::byte> fat, FatVolume::Width width, std::uint64_t index, std::uint32_t value) {
    if (width == FatVolume::Width::k32) return store_le<std::uint32_t>(fat, index * 4, value & 0x0FFFFFFF);
    if (width == FatVolume::Width::k16)
        return store_le<std::uint16_t>(fat, index * 2, static_cast<std::uint16_t>(value));
    const std::size_t at = index + index / 2;
    const unsigned pair = load_le<std::uint16_t>(fat, at), entry = value & 0xFFF;
    store_le<std::uint16_t>(
        fat, at,
        static_cast<std::uint16_t>(index % 2 == 0 ? (pair & 0xF000) | entry : (pair & 0xF) | entry << 4));
}

// A file in the root directory, of clusters all over the first nine tenths. (mtools takes no small FAT32.)
void add_file(const std::shared_ptr<test::DiskBytes>& disk, unsigned number, SeededRandom& random) {
    const FatVolume volume = read_fat_volume(test::MemoryDevice(disk));
    std::span<std::byte> bytes(disk->content);
    std::vector<std::uint64_t> chain;
    for (std::uint64_t i = random.below(12) + 1; i > 0; --i) {
        const std::uint64_t at = FatVolume::kFirstCluster + 1 + random.below(volume.clusters * 9 / 10);
        if (fat_entry_in(volume.width, bytes.subspan(volume.fat_begin), at) == 0 &&
            std::find(chain.begin(), chain.end(), at) == chain.end())
            chain.push_back(at);
    }
    if (chain.empty()) return;
    for (std::size_t i = 0; i < chain.size(); ++i) {
        const std::uint32_t next =
            i + 1 < chain.size() ? static_cast<std::uint32_t>(chain[i + 1]) : 0x0FFFFFFF;
        for (unsigned copy = 0; copy < volume.fat_copies; ++copy)
            store_entry(bytes.subspan(volume.fat_begin + copy * volume.fat_bytes), volume.width, chain[i],
                        next);
        random.fill(
            bytes.subspan(volume.data_begin + (chain[i] - FatVolume::kFirstCluster) * volume.cluster_bytes,
                          volume.cluster_bytes));
    }
    const ByteOffset root = volume.width == FatVolume::Width::k32
                                ? volume.data_begin  // mkfs.fat: cluster 2
                                : volume.fat_begin + volume.fat_copies * volume.fat_bytes;
    const auto entry = bytes.subspan(root + std::uint64_t{number} * 32, 32);
    const std::string name = fmt::format("FILE{}      ", number).substr(0, 8) + "BIN";
    std::copy_n(as_bytes(name).begin(), 11, entry.begin());
    entry[11] = std::byte{0x20};
    store_le<std::uint16_t>(entry, 20, static_cast<std::uint16_t>(chain[0] >> 16));
    store_le<std::uint16_t>(entry, 26, static_cast<std::uint16_t>(chain[0] & 0xFFFF));
    store_le<std::uint32_t>(entry, 28, static_cast<std::uint32_t>(chain.size() * volume.cluster_bytes));
}

void write_image(const std::string& path, std::span<const std::byte> bytes) {
    std::ofstream(path, std::ios::binary) << as_text(bytes);
}

// A filesystem with files in it, or nothing where mkfs.fat refuses the parameters.
std::shared_ptr<test::DiskBytes> make_fat(const ScratchFolder& folder, const Recipe& recipe,
                                          std::uint64_t seed) {
    const std::string image = folder.sparse_file("fat.img", recipe.size_bytes);
    if (run_program({"mkfs.fat", "-F", std::to_string(recipe.bits), "-S", std::to_string(recipe.sector), "-s",
                     std::to_string(recipe.per_cluster), "-f", std::to_string(recipe.fats), "-R",
                     std::to_string(recipe.reserved), image})
            .status != 0)
        return nullptr;
    SeededRandom random(seed);
    auto bytes = test::load_file(image);
    for (unsigned number = 0; number < 8; ++number)
        add_file(bytes, number, random);
    write_image(image, bytes->content);
    run_program({"fsck.fat", "-a", image});  // counts the free clusters anew
    must_run({"fsck.fat", "-n", image});
    return test::load_file(image);
}

std::shared_ptr<test::MemoryDevice> device(std::shared_ptr<test::DiskBytes> bytes) {
    return std::make_shared<test::MemoryDevice>(std::move(bytes));
}

// Every cluster that is in use, by its number.
std::map<std::uint64_t, Bytes> clusters_in_use(const block::Reader& part) {
    const FatVolume volume = read_fat_volume(part);
    std::map<std::uint64_t, Bytes> found;
    for (block::Extent e : fat_used_extents(part).used.clipped_to({volume.data_begin, volume.end}))
        for (ByteOffset at = e.begin; at < e.end; at += volume.cluster_bytes) {
            const std::uint64_t number = (at - volume.data_begin) / volume.cluster_bytes;
            if (number < volume.clusters)
                found[number] = block::read_extent(part, {at, at + volume.cluster_bytes});
        }
    return found;
}

void expect_checker_is_content(const ScratchFolder& folder, const block::Reader& part) {
    const std::string path = folder.file("rebuilt.img");
    write_image(path, block::read_extent(part, {0, part.geometry().size_bytes}));
    const RunResult result = run_program({"fsck.fat", "-n", path});
    EXPECT_EQ(result.status, 0) << result.out << result.err;
}

void expect_same_files(const ScratchFolder& folder, const block::Reader& before, const block::Reader& after,
                       std::uint32_t sector) {
    const FatVolume was = read_fat_volume(before), is = read_fat_volume(after);
    EXPECT_EQ(is.sector_bytes, sector);
    EXPECT_EQ(is.cluster_bytes, was.cluster_bytes);
    EXPECT_EQ(is.width, was.width);
    EXPECT_LE(is.clusters, was.clusters);
    EXPECT_LE(is.end, after.geometry().size_bytes);
    EXPECT_EQ(clusters_in_use(before), clusters_in_use(after));
    expect_checker_is_content(folder, after);
}

TEST(FatForSectors, FilesSurviveThereAndBackWhateverMkfsWasTold) {
    const ScratchFolder folder;
    int done = 0;
    for (std::uint64_t seed = 1; seed <= 24; ++seed) {
        SeededRandom random(seed);
        Recipe recipe;
        recipe.bits = std::array{12u, 16u, 32u}[random.below(3)];
        recipe.sector = random.below(3) == 0 ? 4096 : 512;
        recipe.per_cluster = recipe.sector == 4096 ? 1u << random.below(3) : 8u << random.below(3);
        recipe.fats = 1 + static_cast<unsigned>(random.below(2));
        recipe.reserved =
            static_cast<unsigned>(recipe.bits == 32 ? 8 + random.below(40) : 1 + random.below(9));
        recipe.size_bytes = (recipe.bits == 16 ? 20 : 2) * kMiB + random.below(6 * 2048) * 512;
        SCOPED_TRACE(fmt::format("seed {}: {}", seed, recipe.text()));
        const auto bytes = make_fat(folder, recipe, seed);
        if (!bytes) continue;
        const auto before = device(bytes);
        const std::uint32_t other = recipe.sector == 512 ? 4096 : 512;
        const std::uint64_t size = align_down(recipe.size_bytes, 4096);
        FatForSectors there;
        try {
            there = fat_for_sectors(before, 0, size, other);
        } catch (const Error& e) {
            // Too few clusters are left for this FAT's width, which is not to be had by force.
            EXPECT_EQ(e.code(), Code::kRefused) << e.what();
            EXPECT_NE(std::string(e.what()).find("no longer be a FAT"), std::string::npos) << e.what();
            continue;
        }
        expect_same_files(folder, *before, *there.reader, other);
        const FatForSectors back = fat_for_sectors(there.reader, 0, size, recipe.sector);
        expect_same_files(folder, *before, *back.reader, recipe.sector);
        ++done;
    }
    EXPECT_GE(done, 12) << "mkfs.fat or we refused nearly everything: the test shows nothing";
}

Recipe esp_of(unsigned per_cluster) {
    return {kSmall, 32, 512, per_cluster, 2, 32};
}

std::string refusal(const std::shared_ptr<const block::Reader>& part, std::uint64_t size,
                    std::uint32_t sector) {
    try {
        fat_for_sectors(part, 0, size, sector);
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        return e.what();
    }
    return "";
}

TEST(FatForSectors, ClustersSmallerThanASectorAreRefused) {
    const ScratchFolder folder;
    const auto part = device(make_fat(folder, esp_of(4), 1));
    EXPECT_NE(refusal(part, kSmall, 4096).find("clusters of 2048 bytes"), std::string::npos);
}

// The last clusters are those that a FAT with more room in front of it gives up.
void allocate_last(const std::shared_ptr<test::DiskBytes>& bytes, std::uint64_t count) {
    const FatVolume volume = read_fat_volume(test::MemoryDevice(bytes));
    for (std::uint64_t i = volume.entries() - count; i < volume.entries(); ++i)
        for (unsigned copy = 0; copy < volume.fat_copies; ++copy)
            store_le<std::uint32_t>(bytes->content, volume.fat_begin + copy * volume.fat_bytes + i * 4,
                                    0x0FFFFFFF);
}

TEST(FatForSectors, NoClusterInUseIsGivenUp) {
    const ScratchFolder folder;
    const auto bytes = make_fat(folder, {kSmall, 32, 512, 8, 2, 9}, 1);
    allocate_last(bytes, 1);
    const std::string reason = refusal(device(bytes), kSmall, 4096);
    EXPECT_NE(reason.find("is in use"), std::string::npos) << reason;
}

TEST(FatForSectors, TheBackupBootSectorComesCloserBeforeAClusterIsLost) {
    const ScratchFolder folder;
    // FATs of whole 4 KiB and 16 KiB in front of them: there is room for four large sectors, not for eight.
    const auto bytes = make_fat(folder, {kSmall, 32, 512, 8, 1, 32}, 1);
    const auto before = device(bytes);
    const auto spacious = fat_for_sectors(before, 0, kSmall, 4096);
    EXPECT_EQ(load_le<std::uint16_t>(block::read_extent(*spacious.reader, {0, 512}), 50), 6);
    const std::uint64_t lost = read_fat_volume(*before).clusters - read_fat_volume(*spacious.reader).clusters;
    ASSERT_GT(lost, 1u);
    allocate_last(bytes, lost - 1);
    const FatForSectors close = fat_for_sectors(before, 0, kSmall, 4096);
    EXPECT_EQ(load_le<std::uint16_t>(block::read_extent(*close.reader, {0, 512}), 50), 2);
    EXPECT_EQ(clusters_in_use(*before), clusters_in_use(*close.reader));
}

TEST(FatForSectors, WhatLiesBehindItsEndStaysWhereItIs) {
    const ScratchFolder folder;
    const auto bytes = make_fat(folder, esp_of(8), 1);
    bytes->content.resize(kSmall + kMiB);
    test::fill_pattern(std::span(bytes->content).subspan(kSmall), 7);
    const auto before = device(bytes);
    const auto after = fat_for_sectors(before, 0, kSmall + kMiB, 4096);
    const block::Extent behind{kSmall, kSmall + kMiB};
    EXPECT_EQ(block::read_extent(*after.reader, behind), block::read_extent(*before, behind));
}

TEST(FatForSectors, TheCountOfSectorsInFrontOfItIsCountedAnew) {
    const ScratchFolder folder;
    const auto bytes = make_fat(folder, esp_of(8), 1);
    store_le<std::uint32_t>(bytes->content, 28, 2048);
    const auto after = fat_for_sectors(device(bytes), kMiB, kSmall, 4096);
    EXPECT_EQ(load_le<std::uint32_t>(block::read_extent(*after.reader, {0, 512}), 28), 256u);
}

}  // namespace
}  // namespace dupengine::layout
