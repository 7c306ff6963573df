// Growing FAT32 on volumes by mkfs.fat and mcopy: what moves is nowhere in the way, and damage of FAT and
// folders is refused before anything could be written.

#include "layout/fat_growth.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kSize = 34 * kMiB, kLarger = 80 * kMiB;

std::shared_ptr<test::DiskBytes> on_disk(Bytes content) {
    auto bytes = std::make_shared<test::DiskBytes>(0);
    bytes->content = std::move(content);
    return bytes;
}

// FAT32 with clusters of one sector: some hundred files in folders, the root in cluster 2.
Bytes make_fat() {
    const test::ScratchFolder scratch;
    const std::string image = scratch.sparse_file("fat", kSize), tree = test::make_tree(scratch, "tree", 2);
    test::must_run({"find", tree, "-type", "l", "-delete"});
    test::must_run({"mkfs.fat", "-F", "32", "-s", "1", image});
    test::must_run({"mcopy", "-i", image, "-s", tree, "::/"});
    const auto reader = block::open_source(image);
    return block::read_extent(*reader, {0, kSize});
}

const Bytes& good() {
    static const Bytes kGood = make_fat();
    return kGood;
}

// What planning does with it. Returns why not.
std::string plan_for(const Bytes& bytes, std::uint64_t larger = kLarger) {
    const test::MemoryDevice disk(on_disk(bytes));
    try {
        const FatGrowth growth(disk, larger);
        growth.each_folder(disk, [](ByteOffset, const Bytes&) {});
        return "";
    } catch (const Error& e) {
        EXPECT_TRUE(e.code() == Code::kIntegrity || e.code() == Code::kRefused) << e.what();
        return e.what();
    }
}

TEST(FatGrowth, WhatMovesGoesBehindTheOldEndAndNothingPassesTheNew) {
    const test::MemoryDevice disk(on_disk(good()));
    const FatVolume volume = read_fat_volume(disk);
    const FatGrowth growth(disk, kLarger);
    block::ExtentSet places;
    for (const auto& move : growth.moves()) {
        EXPECT_GE(move.from.begin, volume.data_begin);
        EXPECT_LT(move.from.begin, growth.fats().back().end) << "it could have stayed";
        EXPECT_GE(move.to, volume.end - volume.cluster_bytes);
        const block::Extent place{move.to, move.to + move.from.size()};
        EXPECT_LE(place.end, kLarger);
        EXPECT_FALSE(places.touches(place));
        places.insert(place);
    }
    EXPECT_FALSE(places.empty()) << "the test has nothing to show";
    ASSERT_EQ(growth.fats().size(), 2u);
    EXPECT_EQ(growth.fats()[0].end, growth.fats()[1].begin);
}

TEST(FatGrowth, BytesOfTheFatAreTheSameInPieces) {
    const test::MemoryDevice disk(on_disk(good()));
    const FatGrowth growth(disk, kLarger);
    const std::uint64_t size = growth.fats()[0].size();
    Bytes pieces;
    for (std::uint64_t at = 0; at < size; at += 4096) {
        const Bytes piece = growth.fat_bytes(at, std::min<std::uint64_t>(4096, size - at));
        pieces.insert(pieces.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(pieces, growth.fat_bytes(0, size));
}

TEST(FatGrowth, OfNothingToGainIsRefused) {
    EXPECT_EQ(plan_for(good()), "");
    EXPECT_NE(plan_for(good(), kSize).find("would gain nothing"), std::string::npos);
}

TEST(FatGrowth, AFolderThatHoldsItselfIsRefused) {
    Bytes bytes = good();
    const FatVolume volume = read_fat_volume(test::MemoryDevice(on_disk(bytes)));
    // The first entry of the root is the only one: the folder "tree".
    ASSERT_NE(std::to_integer<unsigned>(bytes[volume.data_begin + 11]) & 0x10, 0u);
    store_le<std::uint16_t>(bytes, volume.data_begin + 26, 2);
    EXPECT_NE(plan_for(bytes).find("has a folder at cluster 2, where none can be"), std::string::npos);
}

TEST(FatGrowth, AChainThatLeadsOutOfTheVolumeIsRefused) {
    Bytes bytes = good();
    const FatVolume volume = read_fat_volume(test::MemoryDevice(on_disk(bytes)));
    store_le<std::uint32_t>(bytes, volume.fat_begin + 4 * 100, static_cast<std::uint32_t>(volume.entries()));
    EXPECT_NE(plan_for(bytes).find("leads to cluster"), std::string::npos);
}

TEST(FatGrowth, AnyDamageEitherStopsItOrIsCarriedAlong) {
    const FatVolume volume = read_fat_volume(test::MemoryDevice(on_disk(good())));
    unsigned stopped = 0;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        SeededRandom random(seed);
        Bytes bytes = good();
        for (unsigned i = 0; i < 40; ++i)  // boot sector, FATs, and the first folders
            bytes[random.below(volume.data_begin + 64 * kKiB)] = static_cast<std::byte>(random.below(256));
        const auto at = random.below(64);
        bytes[at] = static_cast<std::byte>(random.below(256));
        SCOPED_TRACE(fmt::format("seed {}", seed));
        stopped += plan_for(bytes).empty() ? 0 : 1;
    }
    EXPECT_GT(stopped, 2u) << "the damage hit nothing";
}

}  // namespace
}  // namespace dupengine::layout
