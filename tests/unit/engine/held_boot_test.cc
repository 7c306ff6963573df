#include "engine/held_boot.h"

#include <gtest/gtest.h>

#include "tests/support/fake_devices.h"

namespace dupengine::engine {
namespace {

using block::Extent;

Bytes bytes_of(std::size_t size, int value) {
    return Bytes(size, std::byte(value));
}

const std::vector<HeldBoot> kTwoDisks = {
    {8 * kMiB, {{"start", {{512, bytes_of(1024, 1)}}}, {"sector 0", {{0, bytes_of(512, 2)}}}}},
    {4 * kMiB, {{"end", {{4 * kMiB - 512, bytes_of(512, 3)}, {kMiB, bytes_of(512, 4)}}}}}};

TEST(HeldBoot, ArrivesAsItWasSent) {
    const Bytes sent = encode_held_boot(kTwoDisks);
    const auto disks = decode_held_boot(sent);
    ASSERT_EQ(disks.size(), 2u);
    EXPECT_EQ(disks[1].size_bytes, 4 * kMiB);
    EXPECT_EQ(disks[0].boot[1].name, "sector 0");
    EXPECT_EQ(disks[1].boot[0].pieces[1].content, bytes_of(512, 4));
    EXPECT_EQ(encode_held_boot(disks), sent);
}

TEST(HeldBoot, CutAnywhereOrTooLongIsNone) {
    Bytes sent = encode_held_boot(kTwoDisks);
    for (std::size_t size = 0; size < sent.size(); ++size)
        ASSERT_THROW(decode_held_boot(std::span(sent).first(size)), Error) << size;
    sent.push_back({});
    EXPECT_THROW(decode_held_boot(sent), Error);
}

TEST(HeldBoot, ThatPassesTheEndOfItsDiskIsNone) {
    const HeldBoot disk{kMiB, {{"end", {{kMiB - 256, bytes_of(512, 3)}}}}};
    EXPECT_THROW(decode_held_boot(encode_held_boot({disk})), Error);
}

// A filesystem that reaches to the end of an MBR disk, or begins in front of it.
TEST(HeldBoot, WhatLiesInAPartitionIsNotHeld) {
    layout::PartitionTable table;
    table.partitions = {{.number = 1, .extent = {10 * 512, kMiB}}};
    const std::vector<BootStage> boot = {{"end", {{kMiB - 1024, bytes_of(1024, 1)}}},
                                         {"start", {{512, bytes_of(33 * 512, 2)}}}};
    const SplitBoot split = split_boot(boot, table);
    ASSERT_EQ(split.in_partitions.size(), 2u);
    EXPECT_EQ(places_of({kMiB, split.in_partitions}),
              (block::ExtentSet{{10 * 512, 34 * 512}, {kMiB - 1024, kMiB}}));
    EXPECT_EQ(places_of({kMiB, split.outside}), (block::ExtentSet{{512, 10 * 512}}));
}

TEST(HeldBoot, IsShownAndChangedAsIfItWereOnTheDisk) {
    const auto disk = std::make_shared<test::DiskBytes>(kMiB);
    const HeldBoot held{kMiB, {{"start", {{512, bytes_of(1024, 1)}}}}};
    const auto bytes = held_bytes(held);
    const auto view = block::with_held(std::make_unique<test::MemoryDevice>(disk), bytes);
    EXPECT_EQ(block::read_extent(*view, {1024, 2048}), [] {
        Bytes both = bytes_of(512, 1);
        both.resize(1024);
        return both;
    }());
    view->write(1024, bytes_of(1024, 7));
    view->zero({0, 1024}, block::Device::Zeroing::kAllocate);
    EXPECT_TRUE(is_zero(std::span(disk->content).first(1536))) << "it was written before its time";
    EXPECT_EQ(block::read_extent(test::MemoryDevice(disk), {1536, 2048}), bytes_of(512, 7));
    const HeldBoot changed = with_changes(held, *bytes);
    EXPECT_EQ(changed.boot[0].pieces[0].content, [] {
        Bytes both(512);
        both.resize(1024, std::byte{7});
        return both;
    }());
}

}  // namespace
}  // namespace dupengine::engine
