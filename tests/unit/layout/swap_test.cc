// Swap areas: the header page is the swap area, unless a machine sleeps in it.

#include <gtest/gtest.h>

#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

constexpr std::uint64_t kSize = 4 * kMiB;

struct Made {
    ScratchFolder scratch;
    std::string image = scratch.sparse_file("swap", kSize);
    explicit Made(const std::string& page = "4096") {
        must_run({"mkswap", "--pagesize", page, "--uuid", "11111111-2222-3333-4444-555555555555", "--label",
                  "night", image});
    }
};

void put_magic(MemoryDevice& disk, std::string_view magic, std::uint64_t page = 4096) {
    auto place = std::span(disk.bytes()->content).subspan(page - 10, 10);
    std::fill(place.begin(), place.end(), std::byte{0});
    std::copy_n(as_bytes(magic).begin(), magic.size(), place.begin());
}

layout::UsedExtents look(MemoryDevice& disk) {
    return layout::find_used_extents(disk, layout::probe_signature(disk));
}

TEST(Swap, OnlyItsHeaderPageIsCopiedAndKeepsUuidAndLabel) {
    const Made made;
    const Look found = look_at(made.image);
    ASSERT_TRUE(found.signature);
    EXPECT_EQ(found.signature->type, "swap");
    ASSERT_FALSE(found.used.whole) << found.used.reason;
    EXPECT_EQ(found.used.used, block::ExtentSet({{0, 4096}}));
    EXPECT_EQ(found.used.filesystem_bytes, kSize);
    rebuild(made.image, found.used, std::byte{0xAA}, made.scratch.file("copy"));
    const std::string told = must_run({"swaplabel", made.scratch.file("copy")});
    EXPECT_NE(told.find("11111111-2222-3333-4444-555555555555"), std::string::npos);
    EXPECT_NE(told.find("night"), std::string::npos);
}

TEST(Swap, PagesOfOtherMachinesAreKnown) {
    for (const char* page : {"8192", "16384", "65536"}) {
        const Made made(page);
        MemoryDevice disk(load_file(made.image));
        const auto used = used_as(disk, "swap");
        ASSERT_FALSE(used.whole) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, std::stoull(page)}}));
    }
}

TEST(Swap, ABigEndianHeaderIsUnderstood) {
    const Made made;
    MemoryDevice disk(load_file(made.image));
    auto& bytes = disk.bytes()->content;
    for (std::size_t at : {1024u, 1028u, 1032u})
        store_le<std::uint32_t>(bytes, at, load_be<std::uint32_t>(bytes, at));
    const auto used = used_as(disk, "swap");
    EXPECT_FALSE(used.whole) << used.reason;
    EXPECT_EQ(used.filesystem_bytes, kSize);
}

TEST(Swap, AHibernatedSystemIsCopiedToTheLastByte) {
    const Made made;
    for (const char* magic : {"S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"}) {
        MemoryDevice disk(load_file(made.image));
        put_magic(disk, magic);
        const layout::UsedExtents used = look(disk);
        EXPECT_TRUE(used.whole);
        EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
        EXPECT_NE(used.reason.find("hibernated"), std::string::npos) << magic << ": " << used.reason;
        EXPECT_EQ(used.note, "the hibernated image is copied exactly as it is") << magic;
    }
}

TEST(Swap, WhatIsNotUnderstoodIsCopiedWhole) {
    const Made made;
    const auto with = [&](auto change, const std::string& reason) {
        MemoryDevice disk(load_file(made.image));
        change(disk);
        const auto used = used_as(disk, "swap");
        EXPECT_TRUE(used.whole);
        EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
    };
    const auto put = [](std::size_t at, std::uint32_t value) {
        return [=](MemoryDevice& disk) { store_le<std::uint32_t>(disk.bytes()->content, at, value); };
    };
    with([](MemoryDevice& disk) { put_magic(disk, "SWAP-SPACE"); }, "old version 0");
    with([](MemoryDevice& disk) { put_magic(disk, "NOTHING"); }, "no swap signature");
    with(put(1024, 7), "version 7");
    with(put(1028, 0), "claims 4096 bytes");
    with(put(1028, 1024), "the partition has 4194304");
    with(put(1028, 0xFFFFFFFF), "claims 17592186044416 bytes");
    with(put(1032, 0xFFFFFFFF), "4294967295 bad pages");
}

TEST(Swap, APartSmallerThanAPageIsNoSwap) {
    MemoryDevice disk(std::uint64_t{2048});
    EXPECT_TRUE(used_as(disk, "swap").whole);
}

}  // namespace
}  // namespace dupengine::test
