#pragma once
// The boot sector of an NTFS volume: where everything is. Every number is checked before it is used. Internal
// to layout/. Format: the NTFS documentation of the Linux-NTFS project, "Boot" ($Boot), and for clusters of
// more than 64 KiB "NTFS overview" of Microsoft.

#include <cstdint>

#include "block/device.h"

namespace dupengine::layout {

struct NtfsVolume {
    std::uint64_t sector_bytes = 0;
    std::uint64_t sectors = 0;  ///< of the volume; the copy of the boot sector is the one behind them
    bool has_copy = false;      ///< it is there: ntfsresize leaves it where it was
    std::uint64_t cluster_bytes = 0;
    std::uint64_t clusters = 0;      ///< whole ones; a rest of sectors may follow
    std::uint64_t record_bytes = 0;  ///< of a file record in the master file table
    std::uint64_t index_bytes = 0;   ///< of a block of a directory
    std::uint64_t mft_cluster = 0, mirror_cluster = 0;

    std::uint64_t clusters_end() const { return clusters * cluster_bytes; }
    ByteOffset copy_at() const { return sectors * sector_bytes; }
};

/// Throws kIntegrity for what no NTFS driver would take for a volume in this part.
NtfsVolume read_ntfs_boot_sector(const block::Reader& part);

}  // namespace dupengine::layout
