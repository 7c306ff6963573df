#include "block/extent.h"

#include <gtest/gtest.h>

#include <bitset>

#include "base/random.h"

namespace dupengine::block {
namespace {

TEST(ExtentSet, NeighboursBecomeOne) {
    ExtentSet set{{10, 20}, {30, 40}};
    set.insert({20, 30});
    EXPECT_EQ(set, (ExtentSet{{10, 40}}));
    EXPECT_EQ(set.total_bytes(), 30u);
    set.insert({5, 5});
    EXPECT_EQ(set.count(), 1u);
}

TEST(ExtentSet, WhatIsTakenOutIsOut) {
    ExtentSet set{{0, 100}};
    set.erase({40, 60});
    EXPECT_EQ(set, (ExtentSet{{0, 40}, {60, 100}}));
    EXPECT_FALSE(set.touches({40, 60}));
    EXPECT_TRUE(set.touches({59, 61}));
    EXPECT_EQ(set.gaps_in({30, 70}), (ExtentSet{{40, 60}}));
    EXPECT_EQ(set.clipped_to({30, 70}), (ExtentSet{{30, 40}, {60, 70}}));
}

TEST(ExtentSet, AligningOutwardsStopsAtTheLimit) {
    const ExtentSet set{{5000, 5001}, {9000, 9999}};
    EXPECT_EQ(set.aligned_outwards(4096, 9999), (ExtentSet{{4096, 9999}}));
}

TEST(ExtentSet, ShiftingPastTheLargestNumberIsRefused) {
    const ExtentSet set{{0, 10}};
    EXPECT_THROW(set.shifted(std::numeric_limits<std::uint64_t>::max() - 5), Error);
}

TEST(ExtentSet, BridgingJoinsOnlySmallGaps) {
    const ExtentSet set{{0, 10}, {15, 20}, {100, 110}};
    EXPECT_EQ(set.bridged(6), (ExtentSet{{0, 20}, {100, 110}}));
}

// The same operations on a bitmap; repeat one with its seed in the loop.
TEST(ExtentSet, AgreesWithABitmapAfterAnyOperations) {
    constexpr std::size_t kSize = 256;
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        SeededRandom random(seed);
        ExtentSet set;
        std::bitset<kSize> model;
        for (int step = 0; step < 60; ++step) {
            const std::uint64_t begin = random.below(kSize);
            const Extent extent{begin, begin + random.below(kSize - begin + 1)};
            const std::uint64_t what = random.below(4);
            if (what < 2) {
                set.insert(extent);
            } else if (what == 2) {
                set.erase(extent);
            } else {
                set.erase(ExtentSet{extent, {extent.begin / 2, extent.begin / 2 + 3}});
                for (std::size_t i = extent.begin / 2; i < extent.begin / 2 + 3; ++i)
                    model.reset(i);
            }
            for (std::size_t i = extent.begin; i < extent.end; ++i)
                model.set(i, what < 2);
        }
        std::bitset<kSize> seen;
        ByteOffset last_end = 0;
        bool first = true;
        for (Extent e : set) {
            ASSERT_LT(e.begin, e.end) << "seed " << seed;
            ASSERT_TRUE(first || last_end < e.begin) << "seed " << seed;
            first = false;
            last_end = e.end;
            for (std::size_t i = e.begin; i < e.end; ++i)
                seen.set(i);
        }
        ASSERT_EQ(seen, model) << "seed " << seed;
        const Extent window{random.below(kSize / 2), kSize / 2 + random.below(kSize / 2)};
        const ExtentSet inside = set.clipped_to(window);
        ASSERT_EQ(inside.total_bytes() + set.gaps_in(window).total_bytes(), window.size()) << "seed " << seed;
        ASSERT_EQ(set.first_in(window), inside.empty() ? Extent{} : *inside.begin()) << "seed " << seed;
    }
}

TEST(ExtentSet, LargeSetsAreUnitedAsIfOneByOne) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        SeededRandom random(seed);
        ExtentSet a, b, one_by_one;
        for (int i = 0; i < 60; ++i) {
            const std::uint64_t begin = random.below(5000);
            const Extent e{begin, begin + 1 + random.below(60)};
            (i % 2 == 0 ? a : b).insert(e);
            one_by_one.insert(e);
        }
        a.insert(b);
        ASSERT_EQ(a, one_by_one) << "seed " << seed;
    }
}

}  // namespace
}  // namespace dupengine::block
