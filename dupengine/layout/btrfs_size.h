#pragma once
// The size of a btrfs on one device, as it is written in three places: the superblock's sum of all devices,
// its item of this device, and the item of this device in the chunk tree. Format: linux/btrfs_tree.h. Reads
// only: who writes the bytes, and in which order, is the engine's business.

#include "block/device.h"
#include "layout/partition_table.h"

namespace dupengine::layout {

/// The blocks that differ if the filesystem is to cover `bytes` (aligned down to its sectors), checksums
/// included; in the order in which to write them, every copy of the chunk tree's block first. Nothing else of
/// the filesystem depends on its size, and its generation stays. Throws kIntegrity for what is not
/// understood, kRefused for a size smaller than it has.
std::vector<TableImage::Piece> grow_btrfs_to(const block::Reader& part, std::uint64_t bytes);

}  // namespace dupengine::layout
