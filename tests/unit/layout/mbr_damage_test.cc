// What damaged, hostile and look-alike boot records lead to.

#include <gmock/gmock.h>

#include "tests/unit/layout/made_disks.h"

namespace dupengine::test {
namespace {

using layout::PartitionTable;
using layout::TableKind;
using testing::HasSubstr;

constexpr std::uint64_t kSectors = 4096;

struct Slot {
    std::uint8_t type = 0;
    std::uint32_t start = 0, sectors = 0;
    std::uint8_t status = 0;
};

void set_record(Bytes& disk, std::uint64_t lba, const std::vector<Slot>& slots) {
    const auto sector = std::span(disk).subspan(lba * 512, 512);
    for (std::size_t i = 0; i < slots.size(); ++i) {
        store_le<std::uint8_t>(sector, 446 + 16 * i, slots[i].status);
        store_le<std::uint8_t>(sector, 450 + 16 * i, slots[i].type);
        store_le<std::uint32_t>(sector, 454 + 16 * i, slots[i].start);
        store_le<std::uint32_t>(sector, 458 + 16 * i, slots[i].sectors);
    }
    store_le<std::uint16_t>(sector, 510, 0xAA55);
}

// One primary, an extended partition over sectors 1000 to 2999 with two logicals.
Bytes logical_disk() {
    Bytes disk(kSectors * 512);
    set_record(disk, 0, {{0x83, 64, 100}, {0x05, 1000, 2000}});
    set_record(disk, 1000, {{0x83, 10, 90}, {0x05, 500, 100}});
    set_record(disk, 1500, {{0x82, 10, 90}});
    return disk;
}

TEST(DamagedMbr, TheUndamagedOneIsWhatTheOthersStartFrom) {
    const PartitionTable table = try_read(logical_disk()).table;
    EXPECT_EQ(table.kind, TableKind::kMbr);
    EXPECT_EQ(partitions_of(table),
              (std::vector<std::string>{"1 64+100 83  ''", "5 1010+90 83  ''", "6 1510+90 82  ''"}));
}

TEST(DamagedMbr, AnyFlippedBitGivesASaneTableOrOneLine) {
    const Bytes whole = logical_disk();
    Bytes disk = whole;
    for (const std::size_t record : {0u, 1000u, 1500u}) {
        for (std::size_t bit = (record * 512 + 440) * 8; bit < (record + 1) * 512 * 8; ++bit) {
            disk[bit / 8] ^= std::byte(1 << bit % 8);
            const Outcome outcome = try_read(disk);
            disk[bit / 8] = whole[bit / 8];
            if (!outcome.error.empty()) {
                ASSERT_THAT(outcome.error, HasSubstr("memory: ")) << "bit " << bit;
                ASSERT_EQ(outcome.error.find('\n'), std::string::npos);
                continue;
            }
            block::ExtentSet seen;
            for (const auto& p : outcome.table.partitions) {
                ASSERT_FALSE(p.extent.empty() || seen.touches(p.extent)) << "bit " << bit;
                ASSERT_LE(p.extent.end, kSectors * 512) << "bit " << bit;
                seen.insert(p.extent);
            }
            if (outcome.table.kind == TableKind::kMbr) layout::encode_table(outcome.table, kSectors * 512);
        }
    }
}

std::string error_with_record(std::uint64_t lba, const std::vector<Slot>& slots) {
    Bytes disk = logical_disk();
    set_record(disk, lba, slots);
    return try_read(disk).error;
}

TEST(DamagedMbr, ChainsThatNeverEndAreRefused) {
    EXPECT_THAT(error_with_record(1500, {{0x82, 10, 90}, {0x05, 500, 100}}),
                HasSubstr("comes back to sector 1500"));
    EXPECT_THAT(error_with_record(1500, {{0x82, 10, 90}, {0x05, 0, 100}}),
                HasSubstr("comes back to sector 1000"));
    Bytes disk(kSectors * 512);
    set_record(disk, 0, {{0x05, 1000, 3000}});
    for (std::uint32_t i = 0; i < 200; ++i)
        set_record(disk, 1000 + i * 10, {{0x83, 1, 5}, {0x05, (i + 1) * 10, 10}});
    EXPECT_THAT(try_read(disk).error, HasSubstr("more than 128 logical partitions"));
    for (std::uint32_t i = 0; i < 290; ++i)
        set_record(disk, 1000 + i * 10, {{}, {0x05, (i + 1) * 10, 10}});
    EXPECT_THAT(try_read(disk).error, HasSubstr("more than 256 extended boot records"));
    // As many as are allowed.
    set_record(disk, 1000 + 255 * 10, {{0x83, 1, 5}, {}});
    EXPECT_EQ(try_read(disk).error, "");
}

TEST(DamagedMbr, PartitionsOutsideOfWhatHoldsThemAreNamed) {
    EXPECT_THAT(error_with_record(0, {{0x83, 64, 4033}, {}}), HasSubstr("partition 1 (sectors 64 to 4096)"));
    EXPECT_THAT(error_with_record(0, {{0x83, 0xFFFFFFFF, 0xFFFFFFFF}, {}}), HasSubstr("partition 1"));
    EXPECT_THAT(error_with_record(0, {{0x83, 64, 100}, {0x05, 1000, 3097}}), HasSubstr("partition 2"));
    EXPECT_THAT(error_with_record(1500, {{0x82, 10, 1491}}), HasSubstr("logical partition 6 lies outside"));
    EXPECT_THAT(error_with_record(1500, {{0x82, 0, 10}}), HasSubstr("logical partition 6 lies outside"));
    EXPECT_THAT(error_with_record(1000, {{0x83, 10, 90}, {0x05, 2000, 100}}),
                HasSubstr("at sector 3000 would lie"));
    EXPECT_THAT(error_with_record(1000, {{0x83, 10, 90}, {0x05, 0xFFFFFFFF, 100}}),
                HasSubstr("would lie outside"));
}

TEST(DamagedMbr, OverlapsAreNamed) {
    EXPECT_THAT(error_with_record(0, {{0x83, 64, 100}, {}, {0x83, 163, 1}}),
                HasSubstr("partitions 1 and 3 overlap"));
    EXPECT_THAT(error_with_record(0, {{0x83, 64, 937}, {0x05, 1000, 2000}}),
                HasSubstr("partition 1 overlaps the extended"));
    EXPECT_THAT(error_with_record(1500, {{0x82, 10, 1490}, {0x05, 400, 10}}),
                HasSubstr("no extended boot record"));
    EXPECT_THAT(error_with_record(1000, {{0x83, 10, 491}, {0x05, 500, 100}}),
                HasSubstr("partition 5 overlaps the extended boot record"));
    EXPECT_THAT(error_with_record(1000, {{0x83, 505, 10}, {0x05, 500, 100}}),
                HasSubstr("partitions 5 and 6 overlap"));
}

TEST(DamagedMbr, RecordsThatCannotBeUnderstoodAreRefused) {
    EXPECT_THAT(error_with_record(0, {{0x05, 100, 100}, {0x0F, 1000, 2000}}),
                HasSubstr("two extended partitions"));
    EXPECT_THAT(error_with_record(1500, {{0x82, 10, 90}, {0x83, 200, 10}}),
                HasSubstr("more than one partition"));
    EXPECT_THAT(error_with_record(1500, {{0x82, 10, 90}, {}, {0x83, 200, 10}}),
                HasSubstr("more than one partition"));
    // Garbage there, which no system takes for a partition.
    EXPECT_EQ(error_with_record(1500, {{0x82, 10, 90}, {}, {0x83, 200, 0x12345678}}), "");
    Bytes disk = logical_disk();
    disk[1000 * 512 + 511] = std::byte{0};
    EXPECT_THAT(try_read(disk).error, HasSubstr("no extended boot record at sector 1000"));
}

TEST(DamagedMbr, TheTypesOfExtendedPartitionsAreAllKnown) {
    for (const std::uint8_t type : std::initializer_list<std::uint8_t>{0x05, 0x0F, 0x85}) {
        Bytes disk = logical_disk();
        set_record(disk, 0, {{0x83, 64, 100}, {type, 1000, 2000}});
        const PartitionTable table = try_read(disk).table;
        EXPECT_EQ(table.partitions.size(), 3u);
        EXPECT_EQ(table.mbr_extended_type, type);
    }
}

TEST(NoTable, IsWhatAnEmptyOrTinyDiskHas) {
    for (const std::size_t size : {0u, 1u, 511u, 512u, 1024u, 65536u}) {
        const Outcome outcome = try_read(Bytes(size));
        EXPECT_EQ(outcome.error, "");
        EXPECT_EQ(outcome.table.kind, TableKind::kNone);
    }
    EXPECT_TRUE(layout::encode_table({}, kMiB).primary.empty());
    EXPECT_TRUE(layout::table_extents({}, kMiB).empty());
}

TEST(NoTable, IsWhatAFilesystemsBootSectorIs) {
    for (const char* bits : {"12", "16", "32"}) {
        DiskImage disk(64 * kMiB);
        must_run({"mkfs.fat", "-F", bits, disk.path()});
        EXPECT_EQ(disk.table().kind, TableKind::kNone) << bits;
        must_run({"mkfs.fat", "--mbr=yes", "-F", bits, disk.path()});
        EXPECT_EQ(disk.table().kind, TableKind::kNone)
            << bits << ", with a partition entry for the whole disk";
    }
}

TEST(NoTable, IsWhatBootCodeInPlaceOfEntriesIs) {
    Bytes disk = logical_disk();
    const std::string message = "Remove disks or other media. Press any key to restart";
    std::copy_n(as_bytes(message).begin(), message.size(), disk.begin() + 446);
    EXPECT_EQ(try_read(disk).table.kind, TableKind::kNone);
    // NTFS boot code whose bytes pass for entries that lie nowhere.
    disk = logical_disk();
    set_record(disk, 0, {{0x83, 0x20202020, 0x20202020}});
    EXPECT_NE(try_read(disk).error, "");
    std::copy_n(as_bytes("\xEB\x52\x90NTFS    ").begin(), 11, disk.begin());
    EXPECT_EQ(try_read(disk).table.kind, TableKind::kNone);
}

TEST(NoTable, IsNotWhatABootLoaderWithAnOldParameterBlockLeaves) {
    DiskImage disk(16 * kMiB);
    must_run({"mkfs.fat", "-F", "16", disk.path()});
    disk.sfdisk("label: dos\nsize=1MiB\n", {"--wipe", "never"});
    const Bytes fat = [] {
        DiskImage other(16 * kMiB);
        must_run({"mkfs.fat", "-F", "16", other.path()});
        return other.bytes()->content;
    }();
    Bytes both = disk.bytes()->content;
    std::copy_n(fat.begin(), 90, both.begin());
    EXPECT_EQ(try_read(both).table.kind, TableKind::kMbr);
}

}  // namespace
}  // namespace dupengine::test
