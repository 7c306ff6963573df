#pragma once
// The boot sector of FAT12, FAT16 and FAT32: where the FATs and the clusters lie. Format: Microsoft's "FAT:
// General Overview of On-Disk Format" 1.03 (fatgen103). Internal to layout/ and to growing.

#include <cstdint>

#include "block/device.h"

namespace dupengine::layout {

struct FatVolume {
    // Entries 0 and 1 of the FAT hold the media byte and the clean/error bits.
    static constexpr std::uint64_t kFirstCluster = 2;
    enum class Width { k12 = 12, k16 = 16, k32 = 32 };

    Width width = Width::k32;
    std::uint64_t sector_bytes = 0, cluster_bytes = 0;
    std::uint64_t fat_begin = 0, fat_bytes = 0;  // first copy; the size of one copy
    unsigned fat_copies = 0;
    unsigned active_copy = 0;
    bool mirrored = true;          // false: only active_copy is kept up to date
    std::uint64_t data_begin = 0;  // of cluster 2
    std::uint64_t clusters = 0;
    std::uint64_t root_cluster = 0;  // FAT32
    std::uint64_t end = 0;           // of the filesystem
    unsigned media = 0;

    std::uint64_t entries() const { return clusters + kFirstCluster; }
    /// FAT12 and FAT16 have their root directory between this and data_begin.
    ByteOffset fats_end() const { return fat_begin + fat_copies * fat_bytes; }
    std::uint64_t fat_bytes_needed() const { return (entries() * static_cast<unsigned>(width) + 7) / 8; }
};

/// Throws kIntegrity for what is damaged or not FAT.
FatVolume read_fat_volume(const block::Reader& part);

}  // namespace dupengine::layout
