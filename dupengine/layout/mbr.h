#pragma once
// The PC's master boot record: four entries of 16 bytes at byte 446 of LBA 0, and a chain of extended boot
// records (EBR) of the same form for logical partitions. LBAs in an EBR count from the EBR (data) or from the
// start of the extended partition (link). Numbers are as Linux gives them (block/partitions/msdos.c). Private
// to layout/.

#include <optional>
#include <span>

#include "block/device.h"
#include "layout/partition_table.h"

namespace dupengine::layout::mbr {

inline constexpr std::size_t kSlots = 4, kEntriesAt = 446, kEntryBytes = 16;
inline constexpr std::uint8_t kTypeProtective = 0xEE;
inline constexpr std::uint64_t kMaxLba = 0xFFFFFFFF;

/// One of the four entries of a boot record.
struct Entry {
    std::uint8_t status = 0;  ///< 0x80: active
    std::uint8_t type = 0;
    std::uint32_t start = 0, sectors = 0;
    bool used() const { return sectors != 0; }
    bool extended() const { return used() && (type == 0x05 || type == 0x0F || type == 0x85); }
    bool operator==(const Entry&) const = default;
};

bool has_boot_signature(std::span<const std::byte> sector);
void set_boot_signature(std::span<std::byte> sector);
Entry load_entry(std::span<const std::byte> sector, std::size_t slot);
/// Changes nothing if the slot says this already, so that another tool's CHS fields stay. `lba` is the
/// absolute address of the first sector, for CHS.
void store_entry(std::span<std::byte> sector, std::size_t slot, const Entry& entry, std::uint64_t lba);

std::uint32_t load_signature(std::span<const std::byte> sector);
void store_signature(std::span<std::byte> sector, std::uint32_t signature);

/// Empty if LBA 0 holds no partition table (a filesystem's boot sector, data). Throws kIntegrity for a table
/// that cannot be used.
std::optional<PartitionTable> read(const block::Reader& disk, std::uint32_t sector_bytes,
                                   const Bytes& sector0);

/// The EBRs that describe the table's logical partitions, in chain order: as read if nothing has changed.
std::vector<BootRecord> boot_records(const PartitionTable& table);

TableImage encode(const PartitionTable& table, std::uint64_t disk_bytes);

}  // namespace dupengine::layout::mbr
