#pragma once
// Walks a tree of btrfs. Every block is held against its checksum, its place, its filesystem and what its
// parent says of it (level, generation, first key); a block that is there twice is read from the copy that
// holds. Internal to layout/. Used by one thread. Format: struct btrfs_header, btrfs_node and btrfs_leaf in
// fs/btrfs/ in the kernel, keys and items in linux/btrfs_tree.h.

#include <functional>
#include <limits>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "layout/btrfs_chunks.h"

namespace dupengine::layout {

/// For those who look for what is left of a filesystem, blocks that cannot be read or believed are left out,
/// with all that hangs on them; for all others they are errors.
enum class BtrfsDamage { kIsAnError, kIsLeftOut };

class BtrfsTrees {
  public:
    /// `chunks` may grow between walks. All of them outlive this.
    BtrfsTrees(const block::Reader& part, const BtrfsSuper& super, const BtrfsChunks& chunks,
               BtrfsDamage damage = BtrfsDamage::kIsAnError);

    using Take = std::function<void(const BtrfsKey& key, std::span<const std::byte> item)>;
    /// Calls `take` for all items from `first` to `last` (both included), ascending. Blocks in which there
    /// can be none are not read. Throws kIntegrity for what does not fit.
    void walk(const BtrfsRoot& root, const BtrfsKey& first, const BtrfsKey& last, const Take& take);
    /// `at`: where in the block the item begins.
    using TakeInLeaf =
        std::function<void(const BtrfsKey& key, std::size_t at, std::span<const std::byte> item)>;
    /// The items of one leaf, whatever tree it is in. Returns false, having taken nothing, if the block is
    /// left out or no leaf.
    bool read_leaf(ByteOffset logical, const TakeInLeaf& take);
    /// The logical addresses of all blocks read so far, unless damage is left out.
    const std::vector<ByteOffset>& blocks_read() const { return blocks_read_; }
    /// Whether nothing was left out.
    bool complete() const { return complete_; }

  private:
    // What is known of a block before it is read. Its keys are in [first_key, limit).
    struct Expected {
        ByteOffset logical = 0;
        std::uint64_t generation = 0;
        std::uint64_t owner = 0;
        unsigned level = 0;
        bool is_root = false;
        BtrfsKey first_key, limit;
    };
    using Block = std::shared_ptr<const Bytes>;
    /// `expected` is nullptr for a block whose parent is not known. Empty if it is left out.
    Block read_block(ByteOffset logical, const Expected* expected);
    Block read_copies(ByteOffset logical, const Expected* expected);
    void check_block(const Bytes& block, ByteOffset logical) const;
    void check_position(const Bytes& block, const Expected& expected) const;
    void visit(const Expected& expected, const BtrfsKey& first, const BtrfsKey& last, const Take& take);

    const block::Reader& part_;
    const BtrfsSuper& super_;
    const BtrfsChunks& chunks_;
    const BtrfsDamage damage_;
    std::vector<ByteOffset> blocks_read_;
    // If damage is left out: many short walks go through the same blocks, and one that is lost may take
    // seconds to be so.
    std::unordered_map<ByteOffset, Block> kept_;
    std::unordered_set<ByteOffset> lost_;
    std::uint64_t visits_left_;
    bool complete_ = true;
};

/// Whether files are in it: the top level, subvolumes and snapshots.
bool is_btrfs_file_tree(std::uint64_t tree);

inline constexpr BtrfsKey kBtrfsLastKey = {std::numeric_limits<std::uint64_t>::max(), 0xFF,
                                           std::numeric_limits<std::uint64_t>::max()};

}  // namespace dupengine::layout
