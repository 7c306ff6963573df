#pragma once
// Where the logical addresses of btrfs lie on the device: chunks, each of them there once or (DUP) twice.
// Internal to layout/. Value type; used by one thread. Format: struct btrfs_chunk in linux/btrfs_tree.h.

#include <vector>

#include "block/extent.h"
#include "layout/btrfs_super.h"

namespace dupengine::layout {

/// (objectid, type, offset): what the items of a tree are sorted by.
struct BtrfsKey {
    static constexpr std::size_t kBytes = 17;  // on disk

    std::uint64_t object = 0;
    std::uint8_t type = 0;
    std::uint64_t offset = 0;

    static BtrfsKey load(std::span<const std::byte> bytes, std::size_t at);
    auto operator<=>(const BtrfsKey&) const = default;
};

class BtrfsChunks {
  public:
    /// With the system chunks of the superblock.
    explicit BtrfsChunks(const BtrfsSuper& super);

    /// An item of the chunk tree. One that is known already has to be the same. Throws kIntegrity for what
    /// does not fit, or is on another device, or striped.
    void add(const BtrfsKey& key, std::span<const std::byte> item);
    /// Where a logical range is, which lies in one chunk: one range for each copy. Throws kIntegrity if it
    /// does not.
    std::vector<block::Extent> places_of(block::Extent logical) const;
    /// What of `logical` lies in chunks, as physical ranges, all copies. Not exact above the limit of
    /// ExtentCollector, and never less.
    block::ExtentSet places_of(const block::ExtentSet& logical) const;
    /// Of each chunk that has any of these places of the device, in either copy: the logical range from its
    /// beginning to the end of the last of them. No extent passes the border of a chunk.
    std::vector<block::Extent> ranges_up_to(const block::ExtentSet& places) const;
    /// All chunks, as one logical set.
    block::ExtentSet all() const;

  private:
    struct Chunk {
        block::Extent logical;
        std::vector<ByteOffset> copies;  // where each begins on the device
    };
    Chunk parse(const BtrfsKey& key, std::span<const std::byte> item) const;

    const BtrfsSuper& super_;
    std::vector<Chunk> chunks_;  // ascending
};

}  // namespace dupengine::layout
