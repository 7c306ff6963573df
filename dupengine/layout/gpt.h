#pragma once
// GPT as it lies on a disk (UEFI 2.10, 5.3): finding and checking its two copies, and making their bytes.
// Reading trusts no number before its checksum and its range are good. Pure but for reading the disk. Private
// to layout/.

#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "layout/partition_table.h"

namespace dupengine::layout::gpt {

/// What one copy says: its header, checked, and its partitions.
struct Copy {
    std::uint64_t header_lba = 0, alternate_lba = 0;
    std::uint64_t first_usable_lba = 0, last_usable_lba = 0;
    std::uint64_t entries_lba = 0;
    std::uint32_t entry_count = 0, entry_bytes = 0;
    Guid disk_guid;
    std::vector<Partition> partitions;    ///< ascending by number
    std::vector<unsigned> damaged_names;  ///< numbers of the partitions whose name is not UTF-16

    /// Whether both say the same about the disk.
    bool agrees_with(const Copy& other) const;
};

/// What was found of one copy.
struct Finding {
    std::optional<Copy> copy;    ///< if it is whole
    std::optional<Copy> header;  ///< without partitions: if at least the header can be believed
    std::uint64_t lba = 0;
    bool seen = false;  ///< the signature "EFI PART" is there
    bool io_error = false;
    std::string reason;  ///< why `copy` is empty
};

struct Look {
    std::uint32_t sector_bytes = 512;
    Finding primary, backup;
    bool seen() const { return primary.seen || backup.seen; }
};

/// Looks for both copies on a disk of such sectors. `sector0` helps to find the backup of an image that lies
/// on a larger disk. Throws nothing for what it finds or cannot read: that is a Finding.
Look look_for_copies(const block::Reader& disk, std::uint32_t sector_bytes,
                     std::span<const std::byte> sector0);

/// The table of a look with at least one whole copy.
PartitionTable table_from(const Look& look, Bytes sector0, std::uint64_t disk_bytes);

/// Sectors that the entries of one copy take.
std::uint64_t array_sectors(const PartitionTable& table);

/// Where things go on a disk of this size.
struct Places {
    std::uint64_t last_lba = 0;  ///< of the disk: the backup header
    std::uint64_t first_usable_lba = 0, last_usable_lba = 0;
    std::uint64_t backup_entries_lba = 0;
};
/// Throws kRefused if the disk is too small for any partition.
Places places_on(const PartitionTable& table, std::uint64_t disk_bytes);

TableImage encode(const PartitionTable& table, std::uint64_t disk_bytes);

// The MBR in front of a GPT (UEFI 2.10, 5.2.3): protective, or hybrid if it lists partitions too.
/// Whether LBA 0 announces a GPT: a boot signature and an entry of type 0xEE.
bool announced_by(std::span<const std::byte> sector0);
/// The sector with a protective MBR for a disk of so many sectors; a hybrid one and all boot code stay as
/// they are.
Bytes protective_sector0(const PartitionTable& table, std::uint64_t disk_sectors);

}  // namespace dupengine::layout::gpt
