#pragma once
// Walks a tree of btrfs. Every block is held against its checksum, its place, its filesystem and what its
// parent says of it (level, generation, first key); a block that is there twice is read from the copy that
// holds. Internal to layout/. Used by one thread. Format: struct btrfs_header, btrfs_node and btrfs_leaf in
// fs/btrfs/ in the kernel, keys and items in linux/btrfs_tree.h.

#include <functional>
#include <limits>

#include "layout/btrfs_chunks.h"

namespace dupengine::layout {

class BtrfsTrees {
  public:
    /// `chunks` may grow between walks. All of them outlive this.
    BtrfsTrees(const block::Reader& part, const BtrfsSuper& super, const BtrfsChunks& chunks)
        : part_(part), super_(super), chunks_(chunks) {}

    using Take = std::function<void(const BtrfsKey& key, std::span<const std::byte> item)>;
    /// Calls `take` for all items from `first` to `last` (both included), ascending. Blocks in which there
    /// can be none are not read. Throws kIntegrity for what does not fit.
    void walk(const BtrfsRoot& root, const BtrfsKey& first, const BtrfsKey& last, const Take& take);
    /// The logical addresses of all blocks read so far.
    const std::vector<ByteOffset>& blocks_read() const { return blocks_read_; }

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
    Bytes read_block(const Expected& expected);
    void check_block(const Bytes& block, const Expected& expected) const;
    void visit(const Expected& expected, const BtrfsKey& first, const BtrfsKey& last, const Take& take);

    const block::Reader& part_;
    const BtrfsSuper& super_;
    const BtrfsChunks& chunks_;
    std::vector<ByteOffset> blocks_read_;
};

inline constexpr BtrfsKey kBtrfsLastKey = {std::numeric_limits<std::uint64_t>::max(), 0xFF,
                                           std::numeric_limits<std::uint64_t>::max()};

}  // namespace dupengine::layout
