// What damaged and hostile GPTs lead to: the other copy, or one clear line. The disks are made by our own
// encoder, which gpt_test.cc holds against sgdisk and sfdisk.

#include <gmock/gmock.h>

#include "base/random.h"
#include "tests/unit/layout/made_disks.h"

namespace dupengine::test {
namespace {

using layout::Partition;
using layout::PartitionTable;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint64_t kSectors = 256;
constexpr std::uint64_t kDisk = kSectors * 512;

Partition partition(unsigned number, std::uint64_t first, std::uint64_t last, const std::string& name = "") {
    Partition p;
    p.number = number;
    p.extent = {first * 512, (last + 1) * 512};
    p.type_guid = layout::type_guid::kLinuxData;
    p.guid.bytes[0] = std::byte(number);
    p.name = name;
    return p;
}

PartitionTable small_table() {
    PartitionTable table;
    table.kind = layout::TableKind::kGpt;
    table.disk_guid = Guid::parse("01234567-89ab-4def-8123-456789abcdef");
    table.entry_count = 8;
    table.partitions = {partition(1, 64, 99, "first"), partition(3, 100, 199, "third")};
    return table;
}

Bytes disk_of(const PartitionTable& table) {
    Bytes disk(kDisk);
    put(layout::encode_table(table, disk.size()), disk);
    return disk;
}

// Where things lie on disk_of(small_table()): 8 entries of 128 bytes are two sectors.
constexpr std::size_t kHeader = 512, kEntries = 1024, kArray = 1024;
constexpr std::size_t kBackupHeader = kDisk - 512, kBackupEntries = kBackupHeader - kArray;

/// Changes a field of both headers and makes every checksum right again: damage that only its meaning gives
/// away.
template <typename T>
void forge(Bytes& disk, std::size_t field, T value, std::size_t header_bytes = 92) {
    for (const std::size_t header : {kHeader, kBackupHeader}) {
        store_le<T>(std::span(disk), header + field, value);
        const std::size_t entries = header == kHeader ? kEntries : kBackupEntries;
        store_le<std::uint32_t>(disk, header + 88, crc32(std::span(disk).subspan(entries, kArray)));
        store_le<std::uint32_t>(disk, header + 16, 0);
        store_le<std::uint32_t>(disk, header + 16, crc32(std::span(disk).subspan(header, header_bytes)));
    }
}

/// The same for a field of one entry.
template <typename T>
Bytes with_entry_field(unsigned number, std::size_t field, T value) {
    Bytes disk = disk_of(small_table());
    for (const std::size_t entries : {kEntries, kBackupEntries})
        store_le<T>(std::span(disk), entries + std::size_t{number - 1} * 128 + field, value);
    forge<std::uint32_t>(disk, 20, 0);
    return disk;
}

template <typename T>
std::string error_with(std::size_t field, T value) {
    Bytes disk = disk_of(small_table());
    forge<T>(disk, field, value);
    return try_read(disk).error;
}

TEST(DamagedGpt, AnyFlippedBitOfOneCopyLosesNothing) {
    const Bytes whole = disk_of(small_table());
    const PartitionTable table = try_read(whole).table;
    Bytes disk = whole;
    const block::Extent areas[] = {{kHeader, kEntries + kArray}, {kBackupEntries, kDisk}};
    for (block::Extent area : areas) {
        for (std::size_t bit = area.begin * 8; bit < area.end * 8; ++bit) {
            disk[bit / 8] ^= std::byte(1 << bit % 8);
            const Outcome outcome = try_read(disk);
            disk[bit / 8] = whole[bit / 8];
            ASSERT_EQ(outcome.error, "") << "bit " << bit;
            ASSERT_EQ(outcome.table.partitions, table.partitions) << "bit " << bit;
            ASSERT_EQ(outcome.table.disk_guid, table.disk_guid) << "bit " << bit;
            // Only the reserved rest of a header's sector may change unnoticed.
            const std::size_t in_sector = bit / 8 % 512;
            const bool header = bit / 8 / 512 == 1 || bit / 8 >= kBackupHeader;
            ASSERT_EQ(outcome.table.primary_valid && outcome.table.backup_valid, header && in_sector >= 92)
                << "bit " << bit;
        }
    }
}

TEST(DamagedGpt, AnyFlippedBitOfTheFirstSectorLosesNoPartition) {
    const Bytes whole = disk_of(small_table());
    const PartitionTable table = try_read(whole).table;
    Bytes disk = whole;
    for (std::size_t bit = 0; bit < std::size_t{512} * 8; ++bit) {
        disk[bit / 8] ^= std::byte(1 << bit % 8);
        const Outcome outcome = try_read(disk);
        disk[bit / 8] = whole[bit / 8];
        // With its type changed, the protective entry is an MBR partition, for us as for the kernel.
        if (outcome.table.kind == layout::TableKind::kMbr || !outcome.error.empty()) {
            ASSERT_EQ(bit / 8, 450u) << outcome.error;
            continue;
        }
        ASSERT_EQ(outcome.table.partitions, table.partitions) << "bit " << bit;
    }
}

TEST(DamagedGpt, TheSameFlippedBitInBothCopiesIsOneLineAndNeverAWrongTable) {
    const Bytes whole = disk_of(small_table());
    Bytes disk = whole;
    for (std::size_t byte = 0; byte < kArray + 92; ++byte) {
        const std::size_t first = byte < kArray ? kEntries + byte : kHeader + byte - kArray;
        const std::size_t second = byte < kArray ? kBackupEntries + byte : kBackupHeader + byte - kArray;
        disk[first] ^= std::byte{0x10};
        disk[second] ^= std::byte{0x10};
        const Outcome outcome = try_read(disk);
        disk[first] = whole[first];
        disk[second] = whole[second];
        ASSERT_THAT(outcome.error, HasSubstr("memory: no copy of its GPT can be used")) << byte;
        ASSERT_EQ(outcome.error.find('\n'), std::string::npos);
    }
}

TEST(DamagedGpt, ATruncatedDiskIsSaidToBeOneUnlessNothingIsMissing) {
    const Bytes whole = disk_of(small_table());
    for (std::size_t size = 512; size < kBackupEntries; size += 512) {
        const Outcome outcome =
            try_read(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
        ASSERT_THAT(outcome.error, HasSubstr("no copy of its GPT can be used")) << size;
        if (size >= kEntries) {
            ASSERT_THAT(outcome.error, HasSubstr("truncated?")) << size;
        }
    }
    // All usable sectors are there, only the backup is not.
    const Outcome outcome = try_read(Bytes(whole.begin(), whole.begin() + kBackupEntries));
    EXPECT_EQ(outcome.table.partitions, small_table().partitions);
    EXPECT_FALSE(outcome.table.backup_valid);
}

TEST(DamagedGpt, OverlappingPartitionsAreNamed) {
    EXPECT_THAT(try_read(with_entry_field<std::uint64_t>(3, 32, 99)).error,
                HasSubstr("partitions 1 and 3 overlap"));
}

TEST(DamagedGpt, PartitionsOutOfRangeAreNamed) {
    const std::uint64_t last_usable = kSectors - 4;
    EXPECT_THAT(try_read(with_entry_field<std::uint64_t>(3, 40, last_usable + 1)).error,
                AllOf(HasSubstr("partition 3"), HasSubstr("outside the usable sectors")));
    EXPECT_EQ(try_read(with_entry_field<std::uint64_t>(3, 40, last_usable)).error, "");
    EXPECT_THAT(try_read(with_entry_field<std::uint64_t>(3, 40, ~0ull)).error, HasSubstr("partition 3"));
    EXPECT_THAT(try_read(with_entry_field<std::uint64_t>(1, 32, 3)).error, HasSubstr("partition 1"));
    EXPECT_THAT(try_read(with_entry_field<std::uint64_t>(1, 32, 101)).error, HasSubstr("partition 1"));
}

TEST(DamagedGpt, NumbersThatWouldChooseOurMemoryAreRefused) {
    EXPECT_THAT(error_with<std::uint32_t>(80, 1025), HasSubstr("1025 entries"));
    EXPECT_THAT(error_with<std::uint32_t>(80, 0xFFFFFFFF), HasSubstr("4294967295 entries"));
    EXPECT_THAT(error_with<std::uint32_t>(80, 0), HasSubstr("0 entries"));
    EXPECT_THAT(error_with<std::uint32_t>(84, 64), HasSubstr("of 64 bytes"));
    EXPECT_THAT(error_with<std::uint32_t>(84, 384), HasSubstr("of 384 bytes"));
    EXPECT_THAT(error_with<std::uint32_t>(84, 1u << 31), HasSubstr("of 2147483648 bytes"));
    EXPECT_THAT(error_with<std::uint32_t>(84, 1u << 18), HasSubstr("of 262144 bytes"));  // 8 of them: 2 MiB
}

TEST(DamagedGpt, HeadersThatContradictThemselvesAreRefused) {
    EXPECT_THAT(error_with<std::uint32_t>(12, 91), HasSubstr("claims 91 bytes"));
    EXPECT_THAT(error_with<std::uint32_t>(12, 513), HasSubstr("claims 513 bytes"));
    EXPECT_THAT(error_with<std::uint32_t>(8, 0x00020000), HasSubstr("revision 0x00020000"));
    EXPECT_THAT(error_with<std::uint64_t>(24, 7), HasSubstr("is for sector 7"));
    EXPECT_THAT(error_with<std::uint64_t>(40, kSectors), HasSubstr("usable sectors"));
    EXPECT_THAT(error_with<std::uint64_t>(48, kSectors), HasSubstr("truncated?"));
    EXPECT_THAT(error_with<std::uint64_t>(48, ~0ull), HasSubstr("truncated?"));
    for (const std::uint64_t entries : {0ull, 1ull, 3ull, 64ull, ~0ull})
        EXPECT_THAT(error_with<std::uint64_t>(72, entries), HasSubstr("sectors of entries")) << entries;
}

TEST(DamagedGpt, ALongerHeaderIsReadAndItsBytesAreCoveredByTheChecksum) {
    Bytes disk = disk_of(small_table());
    forge<std::uint32_t>(disk, 12, 512, 512);
    EXPECT_EQ(try_read(disk).table.partitions, small_table().partitions);
    disk[kHeader + 500] = disk[kBackupHeader + 500] = std::byte{1};
    EXPECT_THAT(try_read(disk).error, HasSubstr("checksum"));
}

TEST(DamagedGpt, CopiesThatDifferAreToldAndThePrimaryCounts) {
    Bytes disk = disk_of(small_table());
    PartitionTable other = small_table();
    other.partitions[0].name = "changed since";
    for (const auto& piece : layout::encode_table(other, kDisk).primary)
        std::copy(piece.content.begin(), piece.content.end(),
                  disk.begin() + static_cast<std::ptrdiff_t>(piece.offset));
    const Outcome outcome = try_read(disk);
    EXPECT_EQ(outcome.table.by_number(1)->name, "changed since");
    EXPECT_THAT(outcome.table.problems, testing::ElementsAre(HasSubstr("differ")));
}

TEST(DamagedGpt, TwoPartitionsWithOneGuidAreTold) {
    PartitionTable table = small_table();
    table.partitions[1].guid = table.partitions[0].guid;
    EXPECT_THAT(try_read(disk_of(table)).table.problems,
                testing::ElementsAre(HasSubstr("partitions 1 and 3 have the same GUID")));
}

TEST(DamagedGpt, ABrokenNameIsMendedAndTold) {
    const std::uint16_t kHigh = 0xD83D, kLow = 0xDE00;
    for (const std::size_t unit : {0u, 2u, 35u}) {  // alone, in the middle of letters, as the very last unit
        for (const std::uint16_t surrogate : {kHigh, kLow}) {
            const Outcome outcome = try_read(with_entry_field<std::uint16_t>(1, 56 + 2 * unit, surrogate));
            ASSERT_EQ(outcome.error, "");
            if (unit == 35) continue;  // behind the name's end
            EXPECT_THAT(outcome.table.by_number(1)->name, HasSubstr("\xEF\xBF\xBD"));
            EXPECT_THAT(outcome.table.problems, testing::ElementsAre(HasSubstr("partition 1: its name")));
        }
    }
}

TEST(DamagedGpt, ANameOf36UnitsWithoutAnEndIsRead) {
    PartitionTable table = small_table();
    std::string name;
    for (int i = 0; i < 18; ++i)
        name += "😀";  // two units each
    table.partitions[0].name = name;
    EXPECT_EQ(try_read(disk_of(table)).table.by_number(1)->name, name);
}

// Random tables: all that can be said is read back as it was.
PartitionTable random_table(SeededRandom& random, std::uint64_t disk_sectors) {
    PartitionTable table;
    table.kind = layout::TableKind::kGpt;
    table.sector_bytes = random.below(2) == 0 ? 512 : 4096;
    table.disk_guid = random.guid();
    table.mbr_signature = static_cast<std::uint32_t>(random.next());
    table.entry_count = static_cast<std::uint32_t>(4 + random.below(200));
    table.entry_bytes = 128u << random.below(3);
    table.entries_lba = 2 + random.below(50);
    std::uint64_t at = table.entries_lba + 256 + random.below(100);
    for (unsigned number = 1; number <= table.entry_count;
         number += 1 + static_cast<unsigned>(random.below(9))) {
        const std::uint64_t size = 1 + random.below(60);
        if (at + size + 300 > disk_sectors) break;
        Partition p;
        p.number = number;
        p.extent = {at * table.sector_bytes, (at + size) * table.sector_bytes};
        p.type_guid = random.guid();
        p.guid = random.guid();
        p.attributes = random.next();
        for (std::uint64_t i = random.below(12); i > 0; --i)
            p.name += std::array{"a", " ", "ß", "中", "😀", "\""}[random.below(6)];
        table.partitions.push_back(std::move(p));
        at += size + random.below(3);
    }
    return table;
}

TEST(Gpt, RandomTablesAreReadBackAsTheyWere) {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        SeededRandom random(seed);
        const std::uint64_t sectors = 700 + random.below(1000);
        const PartitionTable table = random_table(random, sectors);
        Bytes disk(sectors * table.sector_bytes);
        put(layout::encode_table(table, disk.size()), disk);
        const Outcome outcome = try_read(disk, table.sector_bytes);
        ASSERT_EQ(outcome.error, "") << "seed " << seed;
        ASSERT_EQ(outcome.table.partitions, table.partitions) << "seed " << seed;
        ASSERT_EQ(outcome.table.disk_guid, table.disk_guid) << "seed " << seed;
        ASSERT_EQ(outcome.table.mbr_signature, table.mbr_signature) << "seed " << seed;
        ASSERT_TRUE(outcome.table.problems.empty()) << "seed " << seed << ": " << outcome.table.problems[0];
        ASSERT_TRUE(differences(rewritten(disk, outcome.table), disk).empty()) << "seed " << seed;
    }
}

}  // namespace
}  // namespace dupengine::test
