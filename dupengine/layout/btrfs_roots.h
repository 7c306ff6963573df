#pragma once
// Where the trees of btrfs begin, and with the chunk tree where everything is. Internal to layout/. Format:
// struct btrfs_root_item in linux/btrfs_tree.h.

#include <optional>

#include "layout/btrfs_tree.h"

namespace dupengine::layout {

/// The filesystem's own trees, by number.
struct BtrfsTreeNumber {
    static constexpr std::uint64_t kRoot = 1, kExtent = 2, kChunk = 3, kDevice = 4, kFiles = 5, kChecksum = 7,
                                   kQuota = 8, kUuid = 9, kFreeSpace = 10, kBlockGroup = 11;
    static constexpr std::uint64_t kRelocation = ~std::uint64_t{0} - 8;  ///< data on its way elsewhere
};

/// Adds all chunks.
void read_btrfs_chunk_tree(BtrfsTrees& trees, const BtrfsSuper& super, BtrfsChunks& chunks);
/// Nothing if the root tree does not know it. Throws kIntegrity if it is there twice.
std::optional<BtrfsRoot> find_btrfs_root(BtrfsTrees& trees, const BtrfsSuper& super, std::uint64_t tree);

}  // namespace dupengine::layout
