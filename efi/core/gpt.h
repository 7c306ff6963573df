#pragma once
// Reads the GUID partition table of a disk (UEFI 2.10, 5.3): the primary copy or, if that is not whole, the
// backup. As layout/gpt.h, of which this is the part that fits into firmware; tests hold the two against each
// other. Trusts no number before its checksum and its range are good. Writes nothing.

#include <array>

#include "efi/core/disk.h"
#include "efi/core/guid.h"

namespace dupengine::efi {

struct Partition {
    unsigned number = 0;               ///< as Linux numbers it
    std::uint64_t begin = 0, end = 0;  ///< bytes on the disk
    Guid type, guid;
    bool operator==(const Partition&) const = default;
};

inline constexpr std::size_t kMostPartitions = 128;

struct PartitionTable {
    Guid disk_guid;
    std::uint64_t first_usable = 0;  ///< sector
    std::uint32_t entry_count = 0, entry_bytes = 0;
    std::array<Partition, kMostPartitions> partitions;
    std::size_t count = 0;

    std::span<const Partition> all() const { return std::span(partitions).first(count); }
    /// The first one of this type, or null.
    const Partition* by_type(const Guid& type) const;
    const Partition* by_guid(const Guid& guid) const;
};

inline constexpr Guid kEfiSystemType =
    guid(0xc12a7328, 0xf81f, 0x11d2, {0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b});
/// dupengine-formats(5)
inline constexpr Guid kProfileType =
    guid(0xd0b2e641, 0x5c1f, 0x4f0a, {0x9d, 0x43, 0x7a, 0x6b, 0x8c, 0x15, 0xe9, 0x72});

/// Room for one sector and the entries of any table that is read here.
inline constexpr std::size_t kTableScratchBytes = kMiB + 4096;

/// Fills `table` and returns nothing, or returns why there is none. `scratch`: at least kTableScratchBytes;
/// it begins with the entries then.
TextView read_gpt(Disk& disk, Buffer scratch, PartitionTable& table);

}  // namespace dupengine::efi
