// Growing FAT16 and FAT32 on volumes by mkfs.fat and mcopy: what moves is nowhere in the way, and damage of
// FAT and folders is refused before anything could be written.

#include "layout/fat_growth.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/fd.h"
#include "base/random.h"
#include "block/open.h"
#include "tests/support/disk_image.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kSize = 34 * kMiB, kSize16 = 20 * kMiB, kLarger = 80 * kMiB;

std::shared_ptr<test::DiskBytes> on_disk(Bytes content) {
    auto bytes = std::make_shared<test::DiskBytes>(0);
    bytes->content = std::move(content);
    return bytes;
}

// Clusters of one sector: some hundred files in folders, the root of FAT32 in cluster 2.
Bytes make_fat(const char* width, std::uint64_t size) {
    const test::ScratchFolder scratch;
    const std::string image = scratch.sparse_file("fat", size), tree = test::make_tree(scratch, "tree", 2);
    test::must_run({"find", tree, "-type", "l", "-delete"});
    test::must_run({"mkfs.fat", "-F", width, "-s", "1", image});
    test::must_run({"mcopy", "-i", image, "-s", tree, "::/"});
    const auto reader = block::open_source(image);
    return block::read_extent(*reader, {0, size});
}

const Bytes& good() {
    static const Bytes kGood = make_fat("32", kSize);
    return kGood;
}

const Bytes& good16() {
    static const Bytes kGood = make_fat("16", kSize16);
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

// The volume as the engine makes it.
struct Grown {
    explicit Grown(const Bytes& old) : bytes(on_disk(old)) {
        bytes->content.resize(kLarger);
        const test::MemoryDevice disk(bytes);
        const FatGrowth growth(disk, kLarger);
        for (const auto& move : growth.moves()) {
            put(move.to, block::read_extent(disk, move.from));
            for (std::uint64_t at = 0; at < move.from.size(); at += 512)  // clusters are that large here
                moved[move.from.begin + at] = move.to + at;
        }
        growth.each_folder(disk, [&](ByteOffset place, const Bytes& cluster) {
            put(place, cluster);
            folders.insert({place, place + cluster.size()});
        });
        const auto boot = growth.boot_sectors(disk);
        for (block::Extent fat : growth.fats())
            put(fat.begin, growth.fat_bytes(0, fat.size()));
        for (const auto& piece : boot)
            put(piece.offset, piece.content);
    }
    void put(ByteOffset at, const Bytes& content) const {
        std::copy(content.begin(), content.end(), bytes->content.begin() + static_cast<std::ptrdiff_t>(at));
    }
    std::shared_ptr<test::DiskBytes> bytes;
    std::map<ByteOffset, ByteOffset> moved;
    block::ExtentSet folders;
};

// Every cluster in use is found at its new place: what it holds, and which one follows it. In the plainest
// words: a place has a number, before and after.
void expect_all_carried_along(const Bytes& old) {
    const Grown grown(old);
    const Bytes& now = grown.bytes->content;
    const FatVolume before = read_fat_volume(test::MemoryDevice(on_disk(old)));
    const FatVolume after = read_fat_volume(test::MemoryDevice(grown.bytes));
    const auto entry = [](const Bytes& bytes, const FatVolume& volume, std::uint64_t number) {
        const ByteOffset fat =
            volume.fat_begin + (volume.mirrored ? 0 : volume.active_copy) * volume.fat_bytes;
        return volume.width == FatVolume::Width::k16
                   ? load_le<std::uint16_t>(bytes, fat + 2 * number)
                   : load_le<std::uint32_t>(bytes, fat + 4 * number) & 0x0FFFFFFF;
    };
    const auto place_now = [&](std::uint64_t number) {
        const ByteOffset place = before.data_begin + (number - 2) * before.cluster_bytes;
        const auto move = grown.moved.find(place);
        return move == grown.moved.end() ? place : move->second;
    };
    const auto number_now = [&](std::uint64_t number) {
        return (place_now(number) - after.data_begin) / after.cluster_bytes + 2;
    };
    ASSERT_EQ(before.cluster_bytes, 512u);
    ASSERT_EQ(after.cluster_bytes, 512u);
    EXPECT_EQ(after.width, before.width);
    const bool has_root_cluster = before.width == FatVolume::Width::k32;
    EXPECT_EQ(after.root_cluster, has_root_cluster ? number_now(before.root_cluster) : 0);
    std::uint64_t used = 0, used_now = 0;
    for (std::uint64_t number = 2; number < after.entries(); ++number)
        used_now += entry(now, after, number) != 0 ? 1 : 0;
    for (std::uint64_t number = 2; number < before.entries(); ++number) {
        const std::uint32_t next = entry(old, before, number);
        if (next == 0) continue;
        ++used;
        const bool is_number = next >= 2 && next < before.entries();
        const std::uint64_t follows = is_number ? number_now(next) : next;
        if (entry(now, after, number_now(number)) != follows) FAIL() << "lost behind cluster " << number;
        const ByteOffset place = place_now(number);
        if (grown.folders.touches({place, place + 512})) continue;
        const auto then = old.begin() + static_cast<std::ptrdiff_t>(before.data_begin + (number - 2) * 512);
        if (!std::equal(then, then + 512, now.begin() + static_cast<std::ptrdiff_t>(place)))
            FAIL() << "cluster " << number << " holds something else";
    }
    EXPECT_EQ(used, used_now);
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

TEST(FatGrowth, EveryClusterAndEveryFileIsCarriedAlong) {
    const test::ScratchFolder scratch;
    const auto digest = [&](const std::string& name, const Bytes& bytes) {
        write_file_atomic(scratch.file(name), bytes, 0600, Code::kInternal);
        return test::fat_tree_digest(scratch, scratch.file(name));
    };
    for (const Bytes* old : {&good(), &good16()}) {
        expect_all_carried_along(*old);
        EXPECT_EQ(digest("old", *old), digest("grown", Grown(*old).bytes->content));
        const RunResult check = run_program({"fsck.fat", "-n", scratch.file("grown")});
        EXPECT_EQ(check.status, 0) << check.out;
    }
}

TEST(FatGrowth, AFat16BecomesNoFat32) {
    const FatVolume grown = read_fat_volume(test::MemoryDevice(Grown(good16()).bytes));
    EXPECT_EQ(grown.width, FatVolume::Width::k16);
    EXPECT_EQ(grown.clusters, 65508u) << "as many as every driver takes for FAT16";
    EXPECT_EQ(grown.data_begin - grown.fats_end(), 512u * 32) << "the root directory";
    EXPECT_LT(grown.end, kLarger);
    EXPECT_NE(plan_for(Grown(good16()).bytes->content, 2 * kLarger).find("would gain nothing"),
              std::string::npos);
}

TEST(FatGrowth, WhatOs2KeepsInAnEntryOfFat16IsNoPartOfAClusterNumber) {
    Bytes bytes = good16();
    const ByteOffset entry = read_fat_volume(test::MemoryDevice(on_disk(bytes))).fats_end();
    ASSERT_NE(std::to_integer<unsigned>(bytes[entry + 11]) & 0x10, 0u) << "the folder \"tree\"";
    store_le<std::uint16_t>(bytes, entry + 20, 0x1234);
    EXPECT_EQ(plan_for(bytes), "");
    const Grown grown(bytes);
    const ByteOffset entry_now = read_fat_volume(test::MemoryDevice(grown.bytes)).fats_end();
    EXPECT_EQ(load_le<std::uint16_t>(grown.bytes->content, entry_now + 20), 0x1234);
}

TEST(FatGrowth, OfAFat12IsRefused) {
    const test::ScratchFolder scratch;
    const std::string image = scratch.sparse_file("fat", 2 * kMiB);
    test::must_run({"mkfs.fat", "-F", "12", image});
    const Bytes bytes = block::read_extent(*block::open_source(image), {0, 2 * kMiB});
    EXPECT_EQ(plan_for(bytes), "is a FAT12, which nothing here grows");
}

class FatGrowthOfDamage : public testing::TestWithParam<const Bytes& (*)()> {};

TEST_P(FatGrowthOfDamage, EitherStopsOrCarriesItAlong) {
    const Bytes& whole = GetParam()();
    const FatVolume volume = read_fat_volume(test::MemoryDevice(on_disk(whole)));
    unsigned stopped = 0, carried = 0;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        SeededRandom random(seed);
        Bytes bytes = whole;
        // Much of boot sector, FATs and the first folders, or one byte of a FAT.
        const bool much = seed % 2 == 0;
        for (unsigned i = 0; i < (much ? 40u : 1u); ++i) {
            const ByteOffset begin = much ? 0 : volume.fat_begin + 8;
            const ByteOffset end = much ? volume.data_begin + 64 * kKiB : volume.fats_end();
            bytes[begin + random.below(end - begin)] = static_cast<std::byte>(random.below(256));
        }
        SCOPED_TRACE(fmt::format("seed {}", seed));
        if (!plan_for(bytes).empty()) {
            ++stopped;
            continue;
        }
        ++carried;
        expect_all_carried_along(bytes);
    }
    EXPECT_GT(stopped, 2u) << "the damage hit nothing";
    EXPECT_GT(carried, 1u) << "nothing was carried along";
}

INSTANTIATE_TEST_SUITE_P(Width, FatGrowthOfDamage, testing::Values(good16, good),
                         [](const auto& width) { return width.index == 0 ? "Fat16" : "Fat32"; });

}  // namespace
}  // namespace dupengine::layout
