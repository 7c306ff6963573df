#pragma once
// Who refers to an extent of btrfs: the items of the extent tree that stand behind it. Internal to layout/.
// Format: struct btrfs_extent_item, btrfs_extent_inline_ref and btrfs_extent_data_ref in linux/btrfs_tree.h.

#include <functional>

#include "layout/btrfs_tree.h"

namespace dupengine::layout {

struct BtrfsReference {
    enum class Kind {
        kFile,        ///< an inode of `tree`, somewhere behind `file_offset`
        kFileInLeaf,  ///< some inode in the leaf at `block`
        kTree,        ///< it is a block of `tree`
        kTreeBlock,   ///< it is a block below the one at `block`
    };
    Kind kind = Kind::kFile;
    std::uint64_t tree = 0, inode = 0;
    std::uint64_t file_offset = 0;  ///< of the first byte of the extent, also if that is not in the file
    ByteOffset block = 0;           ///< logical
};

struct BtrfsExtent {
    block::Extent logical;
    bool is_tree_block = false;
    unsigned level = 0;  ///< of a tree block
};

class BtrfsExtentItems {
  public:
    explicit BtrfsExtentItems(const BtrfsSuper& super) : super_(super) {}

    using OnExtent = std::function<void(const BtrfsExtent&)>;
    using OnReference = std::function<void(const BtrfsExtent&, const BtrfsReference&)>;
    /// An item of the extent tree, in their order: `on_extent` if it begins an extent, and `on_reference` for
    /// every reference in it. Throws kIntegrity for what does not fit.
    void take(const BtrfsKey& key, std::span<const std::byte> item, const OnExtent& on_extent,
              const OnReference& on_reference);

  private:
    const BtrfsSuper& super_;
    BtrfsExtent extent_;  // that the items belong to
};

}  // namespace dupengine::layout
