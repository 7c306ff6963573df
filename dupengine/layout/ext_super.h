#pragma once
// The superblock of ext2, ext3 and ext4, checked before libext2fs sees it: libext2fs allocates from its
// numbers and lets unknown read-only features pass. Pure functions of what they read.
// Format: Documentation/filesystems/ext4/ in the kernel, and the names of ext2_fs.h.

#include <cstdint>
#include <span>
#include <string>

#include "block/device.h"

namespace dupengine::layout {

/// The numbers that say where everything is. A filesystem whose journal changes one of them was being
/// resized.
struct ExtGeometry {
    std::uint64_t block_bytes = 0;
    std::uint64_t blocks = 0;          ///< of the filesystem, block 0 included
    std::uint64_t first_block = 0;     ///< where group 0 begins: 1 with 1 KiB blocks and no bigalloc, else 0
    std::uint64_t cluster_blocks = 1;  ///< blocks per bit of a bitmap; more than 1 with bigalloc
    std::uint64_t clusters_per_group = 0;
    std::uint64_t groups = 0;
    std::uint64_t descriptor_bytes = 0;
    std::uint64_t inodes_per_group = 0;
    std::uint64_t inode_table_blocks = 0;  ///< of each group

    std::uint64_t blocks_per_group() const { return clusters_per_group * cluster_blocks; }
    std::uint64_t group_begin(std::uint64_t group) const { return first_block + group * blocks_per_group(); }
    bool operator==(const ExtGeometry&) const = default;
};

struct ExtSuper {
    ExtGeometry geometry;
    std::uint64_t free_blocks = 0;
    std::uint64_t free_inodes = 0;
    bool needs_recovery = false;     ///< the journal has not been played into the filesystem
    bool has_errors = false;         ///< the kernel met an inconsistency
    bool cleanly_unmounted = false;  ///< meaningful without a journal
    bool external_journal = false;
    bool unknown_compat = false;  ///< features that change nothing for a reader, but perhaps for recovery
    std::uint32_t journal_inode = 0;
    std::uint64_t mmp_block = 0;  ///< 0: none
};

/// Reads and checks the primary superblock. Throws kIntegrity naming the field or the feature that stands in
/// the way.
ExtSuper read_ext_super(const block::Reader& part);

/// Where superblocks have a checksum (metadata_csum), makes that of this one fit what it says. `superblock`:
/// its 1024 bytes.
void renew_ext_checksum(std::span<std::byte> superblock);

}  // namespace dupengine::layout
