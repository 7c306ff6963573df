#pragma once
// The boot sector of exFAT: where its FAT and its clusters lie. Format: Microsoft's "exFAT file system
// specification", revision 1.00. Internal to layout/.

#include <cstdint>

#include "block/device.h"

namespace dupengine::layout {

struct ExfatVolume {
    static constexpr std::uint32_t kFirstCluster = 2;

    std::uint64_t sector_bytes = 0, cluster_bytes = 0;
    std::uint64_t fat_begin = 0, heap_begin = 0, end = 0;  // bytes
    std::uint32_t clusters = 0, root = 0;
    unsigned flags = 0;

    block::Extent bytes_of(std::uint64_t cluster, std::uint64_t count) const {
        const ByteOffset at = heap_begin + (cluster - kFirstCluster) * cluster_bytes;
        return {at, at + count * cluster_bytes};
    }
    bool has(std::uint64_t cluster) const {
        return cluster >= kFirstCluster && cluster - kFirstCluster < clusters;
    }
};

/// Throws kIntegrity for what is damaged or not exFAT, and for TexFAT.
ExfatVolume read_exfat_volume(const block::Reader& part);

}  // namespace dupengine::layout
