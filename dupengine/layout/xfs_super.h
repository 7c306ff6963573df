#pragma once
// The superblock and the log of XFS ("XFS Algorithms & Data Structures", 3rd edition; field names as there),
// as far as "which blocks are in use" depends on them. Pure readers: nothing is repaired, and whatever is
// damaged, unknown or not understood throws kIntegrity. Safe from any thread.

#include <array>
#include <cstdint>

#include "block/device.h"

namespace dupengine::layout {

struct XfsSuper {
    std::uint64_t block_bytes = 0, sector_bytes = 0;
    std::uint64_t blocks = 0;        ///< of the data device
    std::uint64_t group_blocks = 0;  ///< of every allocation group but the last, which may be shorter
    std::uint64_t groups = 0;
    block::Extent log;                 ///< in bytes
    bool checksums = false;            ///< version 5: metadata carries CRC-32C, owner and identifier
    std::array<std::byte, 16> uuid{};  ///< that metadata carries (sb_meta_uuid or sb_uuid)
    bool lazy_counts = false;          ///< free_blocks counts free-list and free-space tree blocks too
    std::uint64_t free_blocks = 0;

    std::uint64_t blocks_in(std::uint64_t group) const {
        return group + 1 < groups ? group_blocks : blocks - group * group_blocks;
    }
    /// The first block behind the four header sectors (superblock, AGF, AGI, AGFL) of a group.
    std::uint64_t header_blocks() const { return (4 * sector_bytes + block_bytes - 1) / block_bytes; }
};

XfsSuper read_xfs_super(const block::Reader& part);

/// Throws unless the newest record in the log says "unmounted": otherwise recovery has to come before
/// anything in the allocation groups can be believed.
void check_xfs_log_is_clean(const block::Reader& part, const XfsSuper& super);

/// Throws unless the structure carries its CRC-32C at `crc_at` (stored little-endian, itself counted as
/// zero).
void check_xfs_checksum(std::span<const std::byte> structure, std::size_t crc_at, const char* what);

}  // namespace dupengine::layout
