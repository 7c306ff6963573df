// btrfs on one device: the extents that its extent tree holds, wherever the chunks put them (both copies with
// DUP), the superblock and its copies, and the first MiB, which the filesystem leaves to boot loaders.
// Format: linux/btrfs_tree.h.
//
// Blocks are never overwritten before the superblock has moved on, so after a crash the extent tree is the
// truth of the last commit. What was flushed since then is in the log tree, which is in none of the extents,
// and refers to data that is in none of them. A filesystem with a log to replay is therefore copied by
// chunks: everything but what has never been given to a chunk. A chunk made since the last commit cannot hold
// any of it: the kernel commits instead of writing a log then (btrfs_set_log_full_commit).

#include <algorithm>

#include "layout/btrfs_roots.h"
#include "layout/extent_collector.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

constexpr std::uint8_t kExtentItem = 168, kMetadataItem = 169;
constexpr std::uint64_t kReservedBytes = kMiB;  // BTRFS_DEVICE_RANGE_RESERVED

// The extents in use, as logical ranges.
class ExtentTree {
  public:
    ExtentTree(const BtrfsSuper& super, const BtrfsChunks& chunks) : super_(super), chunks_(chunks) {}

    block::ExtentSet read(BtrfsTrees& trees, const BtrfsRoot& root) {
        trees.walk(root, {}, kBtrfsLastKey, [this](const BtrfsKey& key, std::span<const std::byte> item) {
            if (key.type == kExtentItem || key.type == kMetadataItem) take(key, item);
        });
        if (total_ != super_.bytes_used)
            throw_error(Code::kIntegrity, "the superblock counts {} bytes in use, its extents are {}",
                        super_.bytes_used, total_);
        return used_.take();
    }

  private:
    void take(const BtrfsKey& key, std::span<const std::byte> item) {
        constexpr std::size_t kSmallestItem = 24;
        const std::uint64_t size = key.type == kMetadataItem ? super_.node_bytes : key.offset;
        const block::Extent extent{key.object, checked_add(key.object, size, "an extent")};
        if (item.size() < kSmallestItem || extent.empty() || extent.begin < end_ ||
            extent.begin % super_.sector_bytes != 0 || size % super_.sector_bytes != 0)
            throw_error(Code::kIntegrity, "an extent of {} bytes at {}", size, key.object);
        chunks_.places_of(extent);  // lies in one chunk
        end_ = extent.end;
        total_ += size;  // no overflow: the extents do not overlap
        used_.add(extent);
    }

    const BtrfsSuper& super_;
    const BtrfsChunks& chunks_;
    ExtentCollector used_;
    ByteOffset end_ = 0;
    std::uint64_t total_ = 0;
};

block::ExtentSet logical_used(BtrfsTrees& trees, const BtrfsSuper& super, const BtrfsChunks& chunks) {
    if (super.log_root != 0) {
        chunks.places_of({super.log_root, checked_add(super.log_root, super.node_bytes, "log")});
        return chunks.all();
    }
    const auto extent_tree = find_btrfs_root(trees, super, BtrfsTreeNumber::kExtent);
    if (!extent_tree) throw_error(Code::kIntegrity, "no extent tree");
    const block::ExtentSet used = ExtentTree(super, chunks).read(trees, *extent_tree);
    // The trees themselves are extents. That they are among those found shows that these are the right ones.
    for (ByteOffset block : trees.blocks_read())
        if (!used.contains({block, block + super.node_bytes}))
            throw_error(Code::kIntegrity, "its extent tree calls the block at {} free, which a tree uses",
                        block);
    return used;
}

}  // namespace

UsedExtents btrfs_used_extents(const block::Reader& part) {
    const BtrfsSuper super = read_btrfs_super(part);
    BtrfsChunks chunks(super);
    BtrfsTrees trees(part, super, chunks);
    read_btrfs_chunk_tree(trees, super, chunks);
    UsedExtents result;
    result.block_bytes = super.sector_bytes;
    result.filesystem_bytes = super.device_bytes;
    result.used = chunks.places_of(logical_used(trees, super, chunks));
    result.used.insert({0, std::min(kReservedBytes, super.device_bytes)});
    for (ByteOffset place : BtrfsSuper::kPlaces)
        if (place + BtrfsSuper::kBytes <= super.device_bytes)
            result.used.insert({place, place + BtrfsSuper::kBytes});
    if (super.log_root != 0)
        result.note = "needs log replay; copied as it is, with the free space of its chunks";
    return result;
}

}  // namespace dupengine::layout
