#include "block/disk_row.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "base/units.h"
#include "tests/support/fake_devices.h"

namespace dupengine::block {
namespace {

using test::DiskBytes;
using test::MemoryDevice;

constexpr std::uint64_t kFirst = 2 * kMiB + 512, kSecond = kMiB;

class ADiskRow : public testing::Test {
  protected:
    ADiskRow() {
        SeededRandom random(1);
        random.fill(first_->content);
        random.fill(second_->content);
    }
    Bytes expected() const {
        Bytes all(4 * kMiB);
        std::ranges::copy(first_->content, all.begin());
        std::ranges::copy(second_->content, all.begin() + 3 * kMiB);
        return all;
    }
    std::shared_ptr<DiskBytes> first_ = std::make_shared<DiskBytes>(kFirst),
                               second_ = std::make_shared<DiskBytes>(kSecond);
    const MemoryDevice one_{first_, 512, "one"}, two_{second_, 4096, "two"};
    const DiskRow row_{{&one_, &two_}};
};

TEST_F(ADiskRow, IsTheDisksWithZerosBetweenThem) {
    EXPECT_EQ(row_.geometry().size_bytes, 4 * kMiB);
    EXPECT_EQ(row_.name(), "one, two");
    EXPECT_EQ(read_extent(row_, {0, 4 * kMiB}), expected());
    const Bytes all = expected();
    for (const Extent e : {Extent{kFirst - 5, 3 * kMiB + 7}, Extent{kFirst, 3 * kMiB}, Extent{7, 9}})
        EXPECT_TRUE(std::ranges::equal(read_extent(row_, e), std::span(all).subspan(e.begin, e.size())));
    EXPECT_THROW(read_extent(row_, {4 * kMiB - 1, 4 * kMiB + 1}), Error);
}

TEST_F(ADiskRow, GivesEachDiskAgain) {
    const DiskOfRow one(row_, row_.places()[0]), two(row_, row_.places()[1]);
    EXPECT_EQ(read_extent(one, {0, kFirst}), first_->content);
    EXPECT_EQ(read_extent(two, {0, kSecond}), second_->content);
    EXPECT_EQ(two.name(), "two");
    EXPECT_EQ(two.geometry().logical_sector_bytes, 4096u);
    EXPECT_THROW(read_extent(one, {kFirst - 1, kFirst + 1}), Error) << "what lies behind it is no part of it";
}

TEST_F(ADiskRow, WhatIsNamedIsOfTheDiskThatItLiesOn) {
    const ExtentSet named = {{kMiB, 3 * kMiB + 4096}, {4 * kMiB - 512, 4 * kMiB}};
    EXPECT_EQ(on_disk(named, row_.places()[0]), (ExtentSet{{kMiB, kFirst}}));
    EXPECT_EQ(on_disk(named, row_.places()[1]), (ExtentSet{{0, 4096}, {kMiB - 512, kMiB}}));
}

}  // namespace
}  // namespace dupengine::block
