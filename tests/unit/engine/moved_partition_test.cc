#include "engine/refit/moved_partition.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/fake_devices.h"

namespace dupengine::engine {
namespace {

constexpr std::uint64_t kSize = 64 * kKiB;
constexpr ByteOffset kBefore = 100 * kMiB, kAfter = 60 * kMiB;

// What the part reads as with the pieces laid over it.
Bytes moved(const test::MemoryDevice& part, const std::string& type, std::uint32_t sector_bytes = 512) {
    Bytes content = part.bytes()->content;
    for (const auto& piece : boot_sectors_for(part, type, kBefore, kAfter, sector_bytes))
        std::copy(piece.content.begin(), piece.content.end(),
                  content.begin() + static_cast<std::ptrdiff_t>(piece.offset));
    return content;
}

void put_boot_sector(Bytes& bytes, std::size_t at, std::uint32_t hidden) {
    store_le<std::uint16_t>(bytes, at + 11, 512);
    store_le<std::uint16_t>(bytes, at + 14, 32);  // reserved sectors
    store_le<std::uint32_t>(bytes, at + 28, hidden);
    store_le<std::uint16_t>(bytes, at + 50, 6);  // FAT32: the backup
    store_le<std::uint16_t>(bytes, at + 510, 0xAA55);
}

TEST(MovedPartition, BothBootSectorsOfAFat32SayTheNewPlace) {
    test::MemoryDevice part(kSize);
    Bytes& bytes = part.bytes()->content;
    put_boot_sector(bytes, 0, kBefore / 512);
    put_boot_sector(bytes, std::size_t{6} * 512, kBefore / 512);
    Bytes expected = bytes;
    store_le<std::uint32_t>(expected, 28, kAfter / 512);
    store_le<std::uint32_t>(expected, 6 * 512 + 28, kAfter / 512);
    EXPECT_EQ(moved(part, "vfat"), expected);
    EXPECT_TRUE(boot_sectors_for(part, "ext4", kBefore, kAfter, 512).empty());
    EXPECT_TRUE(boot_sectors_for(part, "vfat", kBefore, kBefore, 512).empty());
}

TEST(MovedPartition, ANumberThatWasNotRightBeforeStays) {
    test::MemoryDevice part(kSize);
    put_boot_sector(part.bytes()->content, 0, 63);
    EXPECT_EQ(moved(part, "vfat"), part.bytes()->content);
}

TEST(MovedPartition, TheBackupOfAnNtfsBehindItsLastSectorFollows) {
    test::MemoryDevice part(kSize);
    Bytes& bytes = part.bytes()->content;
    put_boot_sector(bytes, 0, kBefore / 512);
    store_le<std::uint64_t>(bytes, 40, kSize / 512 - 1);
    std::copy_n(bytes.begin(), 512, bytes.end() - 512);
    Bytes expected = bytes;
    store_le<std::uint32_t>(expected, 28, kAfter / 512);
    store_le<std::uint32_t>(expected, kSize - 512 + 28, kAfter / 512);
    EXPECT_EQ(moved(part, "ntfs"), expected);
}

TEST(MovedPartition, ABootLoaderInFrontOfAnExtFilesystemIsSeen) {
    test::MemoryDevice part(kSize);
    Bytes& bytes = part.bytes()->content;
    bytes[1024 + 56] = std::byte{0x53};  // of the superblock
    EXPECT_FALSE(has_boot_loader_in_front(part, "ext4"));
    bytes[1023] = std::byte{1};
    EXPECT_TRUE(has_boot_loader_in_front(part, "ext4"));
    EXPECT_FALSE(has_boot_loader_in_front(part, "ntfs")) << "its boot sector is its own";
    EXPECT_FALSE(has_boot_loader_in_front(test::MemoryDevice(512), "ext4"));
}

TEST(MovedPartition, HostileBootSectorsChangeNothingOutsideThePart) {
    for (unsigned seed = 1; seed <= 4000; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));
        std::mt19937_64 random(seed);
        test::MemoryDevice part(512 * (1 + random() % 60));
        Bytes& bytes = part.bytes()->content;
        test::fill_pattern(bytes, seed);
        if (random() % 2 == 0) store_le<std::uint32_t>(bytes, 28, kBefore / 512);
        if (random() % 2 == 0) store_le<std::uint16_t>(bytes, 510, 0xAA55);
        if (random() % 2 == 0) store_le<std::uint16_t>(bytes, 22, 0);
        if (random() % 2 == 0) store_le<std::uint64_t>(bytes, 40, random() % 64);
        if (random() % 2 == 0) bytes[108] = static_cast<std::byte>(random() % 16);
        if (random() % 2 == 0) store_le<std::uint16_t>(bytes, 11, static_cast<std::uint16_t>(random()));
        for (const char* type : {"vfat", "ntfs", "exfat"})
            for (const auto& piece : boot_sectors_for(part, type, kBefore, kAfter, 512)) {
                ASSERT_LE(piece.offset, bytes.size());
                ASSERT_LE(piece.content.size(), bytes.size() - piece.offset);
            }
    }
}

}  // namespace
}  // namespace dupengine::engine
