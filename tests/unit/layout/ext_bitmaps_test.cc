// A bit missed in a bitmap is a block missing from the copy.

#include "layout/ext_bitmaps.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/support/fake_devices.h"

namespace dupengine::test {
namespace {

using Runs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Runs runs_of(std::span<const std::byte> bitmap, std::uint64_t count) {
    Runs runs;
    layout::for_each_run(bitmap, count,
                         [&](std::uint64_t begin, std::uint64_t end) { runs.emplace_back(begin, end); });
    return runs;
}

Runs bit_by_bit(std::span<const std::byte> bitmap, std::uint64_t count) {
    Runs runs;
    for (std::uint64_t at = 0; at < count; ++at) {
        if ((bitmap[at / 8] >> (at % 8) & std::byte{1}) == std::byte{0}) continue;
        if (!runs.empty() && runs.back().second == at)
            runs.back().second = at + 1;
        else
            runs.emplace_back(at, at + 1);
    }
    return runs;
}

TEST(Bitmap, EveryRunIsFoundAtEveryLengthAndPosition) {
    SeededRandom random(11);
    for (unsigned round = 0; round < 3000; ++round) {
        Bytes bitmap(8 + random.below(5) * 8);
        for (std::uint64_t runs = random.below(6); runs != 0; --runs) {
            const std::uint64_t begin = random.below(bitmap.size() * 8), end = begin + random.below(140);
            for (std::uint64_t at = begin; at < std::min(end, bitmap.size() * 8); ++at)
                bitmap[at / 8] ^= std::byte{1} << (at % 8);
        }
        const std::uint64_t count =
            random.below(3) == 0 ? bitmap.size() * 8 : random.below(bitmap.size() * 8 + 1);
        ASSERT_EQ(runs_of(bitmap, count), bit_by_bit(bitmap, count))
            << "round " << round << ", " << count << " bits";
    }
}

TEST(Bitmap, FullAndEmptyOnesAreOneRunAndNone) {
    EXPECT_EQ(runs_of(Bytes(4096, std::byte{0xFF}), 32768), (Runs{{0, 32768}}));
    EXPECT_EQ(runs_of(Bytes(4096, std::byte{0xFF}), 100), (Runs{{0, 100}}));
    EXPECT_EQ(runs_of(Bytes(4096), 32768), Runs{});
    EXPECT_EQ(layout::count_ones(Bytes(4096, std::byte{0x0F}), 32768), 16384u);
}

TEST(Bitmap, NeighboursAreReadInOneRequestAndStrangersAreNot) {
    const MemoryDevice disk(std::uint64_t{kMiB});
    for (std::uint64_t block : {7u, 8u, 9u, 50u, 20u})
        disk.bytes()->content[block * 1024] = std::byte(block);
    layout::ExtGeometry geometry;
    geometry.block_bytes = 1024;
    layout::BitmapReader bitmaps(disk, geometry, {7, 8, 9, 0, 50, 20});
    for (auto [group, block] : Runs{{0, 7}, {1, 8}, {2, 9}, {4, 50}, {5, 20}})
        EXPECT_EQ(bitmaps.read(group)[0], std::byte(block));
    EXPECT_TRUE(bitmaps.read(3).empty());
    EXPECT_EQ(disk.calls().size(), 3u);
}

}  // namespace
}  // namespace dupengine::test
