#include "engine/refit/shrink_layout.h"

#include <gtest/gtest.h>

#include <random>

namespace dupengine::engine {
namespace {

using block::Extent;

Extent mib(std::uint64_t begin, std::uint64_t end) {
    return {begin * kMiB, end * kMiB};
}

Place fixed(std::uint64_t begin, std::uint64_t end) {
    return {mib(begin, end), (end - begin) * kMiB, true};
}

Place shrinkable(std::uint64_t begin, std::uint64_t end, std::uint64_t least) {
    return {mib(begin, end), least * kMiB, true};
}

TEST(ShrinkLayout, WhatFitsStaysWhereItIs) {
    const Room room{mib(1, 100), {}};
    const std::vector<Place> places = {fixed(1, 10), shrinkable(10, 90, 5), fixed(90, 100)};
    EXPECT_EQ(fit_places(places, room), (std::vector{mib(1, 10), mib(10, 90), mib(90, 100)}));
}

TEST(ShrinkLayout, TheSwapBehindTheRootMovesAndTheRootGivesNoMoreThanIsMissing) {
    const Room room{mib(1, 70), {}};
    const std::vector<Place> places = {fixed(1, 10), shrinkable(10, 90, 20), fixed(90, 100)};
    EXPECT_EQ(fit_places(places, room), (std::vector{mib(1, 10), mib(10, 60), mib(60, 70)}));
}

TEST(ShrinkLayout, FreeSpaceBetweenPartitionsIsUsedBeforeAnythingBecomesSmaller) {
    const Room room{mib(1, 80), {}};
    const std::vector<Place> places = {shrinkable(1, 40, 5), fixed(60, 100)};
    EXPECT_EQ(fit_places(places, room), (std::vector{mib(1, 40), mib(40, 80)}));
}

TEST(ShrinkLayout, OnlyThePartitionWithMostToGiveShrinksIfThatIsEnough) {
    const Room room{mib(1, 71), {}};
    const std::vector<Place> places = {shrinkable(1, 31, 20), shrinkable(31, 101, 30)};
    EXPECT_EQ(fit_places(places, room), (std::vector{mib(1, 31), mib(31, 71)}));
}

TEST(ShrinkLayout, SeveralShrinkInProportionToWhatTheyCanGive) {
    const Room room{mib(1, 51), {}};
    const std::vector<Place> places = {shrinkable(1, 41, 10), shrinkable(41, 101, 30)};
    const auto fitted = fit_places(places, room);  // 50 of 60 MiB have to go: 25 and 25 of 30 and 30
    ASSERT_TRUE(fitted);
    EXPECT_EQ((*fitted)[0].size(), 15 * kMiB);
    EXPECT_EQ((*fitted)[1].size(), 35 * kMiB);
}

TEST(ShrinkLayout, WhatIsKeptOnTheTargetIsGoneAround) {
    Room room{mib(1, 80), {}};
    room.obstacles.insert(mib(50, 54));
    const std::vector<Place> places = {fixed(1, 10), shrinkable(10, 90, 20), fixed(90, 100)};
    // The swap fits behind the kept region, the root in front of it.
    EXPECT_EQ(fit_places(places, room), (std::vector{mib(1, 10), mib(10, 50), mib(70, 80)}));
}

TEST(ShrinkLayout, WhatCannotMoveStaysAndNothingInFrontOfItShrinksInVain) {
    const Room room{mib(1, 80), {}};
    std::vector<Place> places = {shrinkable(1, 60, 2), fixed(60, 61), shrinkable(61, 101, 10)};
    places[1].movable = false;
    EXPECT_EQ(fit_places(places, room), (std::vector{mib(1, 60), mib(60, 61), mib(61, 80)}));
    places[2].least_bytes = 30 * kMiB;
    EXPECT_FALSE(fit_places(places, room));
}

TEST(ShrinkLayout, WhatCannotFitSaysHowLargeTheTargetWouldHaveToBe) {
    const Room room{mib(1, 20), {}};
    const std::vector<Place> places = {fixed(1, 10), shrinkable(10, 90, 20), fixed(90, 100)};
    EXPECT_FALSE(fit_places(places, room));
    EXPECT_EQ(least_end(places, room), 40 * kMiB);
}

struct RandomDisk {
    std::vector<Place> places;
    Room room;
};

RandomDisk random_disk(std::mt19937_64& random) {
    RandomDisk disk;
    ByteOffset at = kMiB;
    for (std::size_t i = 0, count = 1 + random() % 6; i < count; ++i) {
        at += random() % 3 * (random() % 4) * kMiB + (random() % 4 == 0 ? 512 * (random() % 100) : 0);
        const std::uint64_t size = (1 + random() % 40) * kMiB + (random() % 4 == 0 ? 512 : 0);
        Place place{{at, at + size}, size, random() % 8 != 0};
        if (random() % 2 == 0) place.least_bytes = 1 + random() % size;
        disk.places.push_back(place);
        at += size;
    }
    disk.room.usable = {kMiB, kMiB + random() % (at + kMiB)};
    if (random() % 3 == 0) {
        const ByteOffset begin = random() % at;
        disk.room.obstacles.insert({begin, begin + 1 + random() % (4 * kMiB)});
    }
    return disk;
}

void expect_sound(const RandomDisk& disk, const std::vector<Extent>& fitted) {
    ASSERT_EQ(fitted.size(), disk.places.size());
    ByteOffset end = disk.room.usable.begin;
    for (std::size_t i = 0; i < fitted.size(); ++i) {
        const Place& place = disk.places[i];
        EXPECT_GE(fitted[i].begin, end) << "out of order, or outside";
        EXPECT_LE(fitted[i].begin, place.extent.begin) << "moved towards the end";
        EXPECT_TRUE(place.movable || fitted[i].begin == place.extent.begin);
        EXPECT_TRUE(fitted[i].begin == place.extent.begin || fitted[i].begin % kMiB == 0);
        EXPECT_GE(fitted[i].size(), place.least_bytes);
        EXPECT_LE(fitted[i].size(), place.extent.size());
        EXPECT_FALSE(disk.room.obstacles.touches(fitted[i]));
        end = fitted[i].end;
    }
    EXPECT_LE(end, disk.room.usable.end);
}

TEST(ShrinkLayout, WhateverTheDiskNothingOverlapsOrLeavesTheRoomAndTheLeastEndIsTheBoundary) {
    unsigned fits = 0;
    for (unsigned seed = 1; seed <= 3000; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));
        std::mt19937_64 random(seed);
        RandomDisk disk = random_disk(random);
        const auto fitted = fit_places(disk.places, disk.room);
        if (fitted) {
            ++fits;
            expect_sound(disk, *fitted);
        }
        const auto least = least_end(disk.places, disk.room);
        if (!least) {
            EXPECT_FALSE(fitted);
            continue;
        }
        EXPECT_EQ(fitted.has_value(), disk.room.usable.end >= *least);
        disk.room.usable.end = *least;
        EXPECT_TRUE(fit_places(disk.places, disk.room));
        --disk.room.usable.end;
        EXPECT_FALSE(fit_places(disk.places, disk.room));
    }
    EXPECT_GT(fits, 500U) << "the cases show too little";
}

}  // namespace
}  // namespace dupengine::engine
