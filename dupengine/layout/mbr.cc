#include "layout/mbr.h"

#include <algorithm>
#include <string_view>

#include "layout/partition_checks.h"

namespace dupengine::layout::mbr {
namespace {

// More logical partitions than that are made by no tool; a bound keeps a hostile chain from choosing our
// memory.
constexpr std::size_t kMaxLogicals = 128;
constexpr std::size_t kMaxRecords = 2 * kMaxLogicals;  // some may be empty
constexpr unsigned kFirstLogical = 5;

struct Disk {
    const block::Reader& reader;
    std::uint64_t sector_bytes;
    std::uint64_t sectors() const { return reader.geometry().size_bytes / sector_bytes; }
};

[[noreturn]] void reject(const std::string& reason) {
    throw Error(Code::kIntegrity, "MBR: " + reason);
}

// The parameter block of a FAT, NTFS or exFAT boot sector (Microsoft fatgen103; the OEM names of the other
// two). Its code may look like partition entries. A boot loader may also leave such a block in a real MBR.
bool looks_like_filesystem(std::span<const std::byte> sector) {
    const std::string_view oem = as_text(sector.subspan(3, 8));
    if (oem == "NTFS    " || oem == "EXFAT   ") return true;
    const auto byte = [&](std::size_t at) { return load_le<std::uint8_t>(sector, at); };
    const auto power_of_two = [](unsigned value) { return value != 0 && (value & (value - 1)) == 0; };
    const unsigned sector_bytes = load_le<std::uint16_t>(sector, 11), media = byte(21), fats = byte(16);
    return (byte(0) == 0xEB || byte(0) == 0xE9) && power_of_two(sector_bytes) && sector_bytes >= 512 &&
           sector_bytes <= 4096 && power_of_two(byte(13)) && load_le<std::uint16_t>(sector, 14) != 0 &&
           fats >= 1 && fats <= 2 && (media == 0xF0 || media >= 0xF8);
}

// Whether the four entries can be meant as a partition table at all; if they can and are wrong, that is an
// error.
bool meant_as_table(std::span<const std::byte> sector0) {
    if (!has_boot_signature(sector0)) return false;
    bool any = false;
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        const Entry entry = load_entry(sector0, slot);
        if ((entry.status & 0x7F) != 0) return false;
        // From sector 0 on: the whole disk under another name (mkfs.fat --mbr, ISO hybrids). Copied as no
        // table.
        if (entry.used() && entry.start == 0) return false;
        if (entry.used() && entry.type != 0) any = true;
    }
    return any;
}

Partition partition_of(const Entry& entry, unsigned number, std::uint64_t lba, const Disk& disk) {
    const std::uint64_t end = lba + entry.sectors;  // both below 2^33
    if (end > disk.sectors())
        reject(fmt::format(
            "partition {} (sectors {} to {}) lies behind the end of the disk ({} sectors; truncated?)",
            number, lba, end - 1, disk.sectors()));
    Partition partition;
    partition.number = number;
    partition.extent = {lba * disk.sector_bytes, end * disk.sector_bytes};
    partition.mbr_type = entry.type;
    partition.mbr_active = entry.status == 0x80;
    return partition;
}

void read_primaries(const Disk& disk, PartitionTable& table) {
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        const Entry entry = load_entry(table.sector0, slot);
        if (!entry.used()) continue;
        Partition partition = partition_of(entry, static_cast<unsigned>(slot + 1), entry.start, disk);
        if (!entry.extended()) {
            table.partitions.push_back(std::move(partition));
            continue;
        }
        if (table.mbr_extended) reject("there are two extended partitions; one can be handled");
        table.mbr_extended = partition.extent;
        table.mbr_extended_type = entry.type;
    }
    if (const auto pair = overlapping_pair(table.partitions))
        reject(fmt::format("partitions {} and {} overlap", pair->first, pair->second));
    for (const Partition& partition : table.partitions)
        if (table.mbr_extended && partition.extent.touches(*table.mbr_extended))
            reject(fmt::format("partition {} overlaps the extended partition", partition.number));
}

struct Links {
    std::optional<Entry> data, next;
};

// What an EBR holds. Linux takes its last two entries too if they lie within the extended partition; no tool
// writes such, but some leave garbage there, which is ignored.
Links links_of(const Disk& disk, std::span<const std::byte> record, std::uint64_t lba,
               block::Extent container) {
    Links links;
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        const Entry entry = load_entry(record, slot);
        const ByteOffset begin = (lba + entry.start) * disk.sector_bytes;
        const bool garbage =
            slot >= 2 && !container.contains(block::Extent{begin, begin + entry.sectors * disk.sector_bytes});
        if (!entry.used() || garbage) continue;
        std::optional<Entry>& place = entry.extended() ? links.next : links.data;
        if (place || slot >= 2)
            reject(
                fmt::format("the extended boot record at sector {} describes more than one partition", lba));
        place = entry;
    }
    return links;
}

void add_logical(const Disk& disk, const Entry& entry, std::uint64_t record_lba, PartitionTable& table) {
    const auto logicals = static_cast<std::size_t>(std::count_if(
        table.partitions.begin(), table.partitions.end(), [](const Partition& p) { return p.mbr_logical; }));
    if (logicals == kMaxLogicals) reject(fmt::format("more than {} logical partitions", kMaxLogicals));
    Partition partition =
        partition_of(entry, kFirstLogical + static_cast<unsigned>(logicals), record_lba + entry.start, disk);
    partition.mbr_logical = true;
    if (entry.start == 0 || !table.mbr_extended->contains(partition.extent))
        reject(fmt::format("logical partition {} lies outside the extended one", partition.number));
    table.partitions.push_back(std::move(partition));
}

// Reads the record at `lba` into the table; returns the sector of the next one, or 0 at the end of the chain.
std::uint64_t read_record(const Disk& disk, std::uint64_t lba, PartitionTable& table) {
    const block::Extent extent{lba * disk.sector_bytes, (lba + 1) * disk.sector_bytes};
    if (!table.mbr_extended->contains(extent))
        reject(fmt::format("an extended boot record at sector {} would lie outside the extended partition",
                           lba));
    Bytes record = block::read_extent(disk.reader, extent);
    if (!has_boot_signature(record))
        reject(fmt::format("there is no extended boot record at sector {}, where one should be", lba));
    const Links links = links_of(disk, record, lba, *table.mbr_extended);
    table.mbr_chain.push_back({extent.begin, std::move(record)});
    if (links.data) add_logical(disk, *links.data, lba, table);
    if (!links.next) return 0;
    return table.mbr_extended->begin / disk.sector_bytes + links.next->start;
}

void check_chain(const PartitionTable& table) {
    if (const auto pair = overlapping_pair(table.partitions))
        reject(fmt::format("partitions {} and {} overlap", pair->first, pair->second));
    for (const BootRecord& record : table.mbr_chain)
        for (const Partition& partition : table.partitions)
            if (partition.extent.contains(record.offset))
                reject(fmt::format("partition {} overlaps the extended boot record at byte {}",
                                   partition.number, record.offset));
}

void read_logicals(const Disk& disk, PartitionTable& table) {
    std::uint64_t lba = table.mbr_extended->begin / disk.sector_bytes;
    do {
        const bool seen =
            std::any_of(table.mbr_chain.begin(), table.mbr_chain.end(),
                        [&](const BootRecord& record) { return record.offset == lba * disk.sector_bytes; });
        if (seen) reject(fmt::format("the chain of extended boot records comes back to sector {}", lba));
        if (table.mbr_chain.size() == kMaxRecords)
            reject(fmt::format("more than {} extended boot records", kMaxRecords));
        lba = read_record(disk, lba, table);
    } while (lba != 0);
    check_chain(table);
}

}  // namespace

std::optional<PartitionTable> read(const block::Reader& disk, std::uint32_t sector_bytes,
                                   const Bytes& sector0) {
    if (!meant_as_table(sector0)) return {};
    PartitionTable table;
    table.kind = TableKind::kMbr;
    table.sector_bytes = sector_bytes;
    table.mbr_signature = load_signature(sector0);
    table.sector0 = sector0;
    const Disk place{disk, sector_bytes};
    try {
        read_primaries(place, table);
        if (table.mbr_extended) read_logicals(place, table);
    } catch (const Error& e) {
        if (e.code() == Code::kIntegrity && looks_like_filesystem(sector0)) return {};
        throw;
    }
    return table;
}

}  // namespace dupengine::layout::mbr
