#include "block/patchwork.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/fake_devices.h"

namespace dupengine::block {
namespace {

Geometry geometry_of(std::uint64_t size_bytes) {
    Geometry geometry;
    geometry.size_bytes = size_bytes;
    return geometry;
}

Bytes pattern(std::size_t size, std::uint64_t seed) {
    Bytes bytes(size);
    test::fill_pattern(bytes, seed);
    return bytes;
}

TEST(Patchwork, WhereNothingWasLaidThereAreZerosAndAHole) {
    Patchwork disk("view", geometry_of(8192));
    EXPECT_TRUE(disk.next_data({0, 8192}).empty());
    EXPECT_TRUE(is_zero(read_extent(disk, {0, 8192})));
}

TEST(Patchwork, WhatWasLaidLaterLiesOnTopAndTheRestOfTheFirstStays) {
    test::MemoryDevice base(64 * kKiB);
    test::fill_pattern(base.bytes()->content, 1);
    Patchwork disk("view", geometry_of(64 * kKiB));
    disk.lay({0, 64 * kKiB}, base, 0);
    const Bytes over = pattern(1000, 2);
    disk.lay(10'000, over);
    Bytes expected = base.bytes()->content;
    std::copy(over.begin(), over.end(), expected.begin() + 10'000);
    EXPECT_EQ(read_extent(disk, {0, 64 * kKiB}), expected);
    disk.lift({10'500, 20'000});
    std::fill(expected.begin() + 10'500, expected.begin() + 20'000, std::byte{0});
    EXPECT_EQ(read_extent(disk, {0, 64 * kKiB}), expected);
    EXPECT_EQ(disk.next_data({10'600, 64 * kKiB}), (Extent{20'000, 64 * kKiB}));
}

// A model in memory beside it: any order of laying and lifting reads the same.
TEST(Patchwork, ReadsWhatAPlainCopyWouldHoldWhateverIsLaidInWhichOrder) {
    constexpr std::uint64_t kSize = 16 * kKiB;
    test::MemoryDevice base(kSize);
    test::fill_pattern(base.bytes()->content, 7);
    for (unsigned seed = 1; seed <= 200; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));
        std::mt19937_64 random(seed);
        Patchwork disk("view", geometry_of(kSize));
        Bytes model(kSize);
        for (int step = 0; step < 12; ++step) {
            const ByteOffset begin = random() % kSize;
            const std::uint64_t size = random() % (kSize - begin + 1);
            const auto at = model.begin() + static_cast<std::ptrdiff_t>(begin);
            switch (random() % 3) {
                case 0: {
                    const ByteOffset from = random() % (kSize - size + 1);
                    disk.lay({begin, begin + size}, base, from);
                    std::copy_n(base.bytes()->content.begin() + static_cast<std::ptrdiff_t>(from), size, at);
                    break;
                }
                case 1: {
                    const Bytes content = pattern(size, random());
                    disk.lay(begin, content);
                    std::copy(content.begin(), content.end(), at);
                    break;
                }
                default:
                    disk.lift({begin, begin + size});
                    std::fill_n(at, size, std::byte{0});
            }
        }
        ASSERT_EQ(read_extent(disk, {0, kSize}), model);
        Bytes found(kSize);  // what next_data names is all that is not zero
        for (Extent rest{0, kSize}, data; !(data = disk.next_data(rest)).empty(); rest.begin = data.end)
            disk.read(data.begin, std::span(found).subspan(data.begin, data.size()));
        ASSERT_EQ(found, model);
    }
}

TEST(Patchwork, ItKnowsTheHolesOfWhatLiesBeneath) {
    Patchwork base("base", geometry_of(1 * kMiB));
    base.lay(300 * kKiB, pattern(4096, 3));
    Patchwork disk("view", geometry_of(2 * kMiB));
    disk.lay({1 * kMiB, 2 * kMiB}, base, 0);
    const ByteOffset data = 1 * kMiB + 300 * kKiB;
    EXPECT_EQ(disk.next_data({0, 2 * kMiB}), (Extent{data, data + 4096}));
    EXPECT_FALSE(disk.has_data({0, 1 * kMiB}));
}

TEST(Patchwork, NothingPastAnEndIsLaidOrRead) {
    test::MemoryDevice base(8192);
    Patchwork disk("view", geometry_of(4096));
    EXPECT_THROW(disk.lay({0, 8192}, base, 0), Error);
    EXPECT_THROW(disk.lay({0, 4096}, base, 8000), Error);
    EXPECT_THROW(disk.lay(4000, Bytes(200)), Error);
    Bytes buffer(4097);
    EXPECT_THROW(disk.read(0, buffer), Error);
}

}  // namespace
}  // namespace dupengine::block
