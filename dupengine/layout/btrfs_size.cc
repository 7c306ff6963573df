#include "layout/btrfs_size.h"

#include <algorithm>

#include "layout/btrfs_tree.h"

namespace dupengine::layout {
namespace {

using Piece = TableImage::Piece;

constexpr BtrfsKey kFirstDevice = {1, 216, 0};  // BTRFS_DEV_ITEMS_OBJECTID, BTRFS_DEV_ITEM_KEY
// Offsets in struct btrfs_super_block, btrfs_header and btrfs_dev_item.
constexpr std::size_t kOwnPlace = 48, kTotalBytes = 0x70, kDeviceItem = 0xC9, kItemCount = 96,
                      kHeaderBytes = 101, kItemBytes = BtrfsKey::kBytes + 8, kDeviceTotalBytes = 8;

void put_checksum(const BtrfsSuper& super, Bytes& block) {
    const Bytes checksum = btrfs_checksum_of(super.checksum, block);
    std::copy(checksum.begin(), checksum.end(), block.begin());
}

// Where in a leaf that BtrfsTrees has checked the item with this key begins.
std::size_t find_item(const Bytes& leaf, const BtrfsKey& key) {
    const std::size_t count = load_le<std::uint32_t>(leaf, kItemCount);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = kHeaderBytes + i * kItemBytes;
        if (BtrfsKey::load(leaf, at) == key)
            return kHeaderBytes + load_le<std::uint32_t>(leaf, at + BtrfsKey::kBytes);
    }
    throw_error(Code::kIntegrity, "the block of the chunk tree lost the item of its device");
}

// The leaf with the device's item, wherever a copy of it lies.
std::vector<Piece> grow_device_item(const block::Reader& part, const BtrfsSuper& super, std::uint64_t bytes) {
    const BtrfsChunks chunks(super);
    BtrfsTrees trees(part, super, chunks);
    const BtrfsKey device{kFirstDevice.object, kFirstDevice.type, super.device};
    ByteOffset logical = 0;
    bool found = false;
    trees.walk(super.chunk_tree, device, device, [&](const BtrfsKey&, std::span<const std::byte> item) {
        if (load_le<std::uint64_t>(item, 0) != super.device ||
            load_le<std::uint64_t>(item, kDeviceTotalBytes) != super.device_bytes)
            throw_error(Code::kIntegrity, "its chunk tree and its superblock disagree about the device");
        logical = trees.blocks_read().back();
        found = true;
    });
    if (!found) throw_error(Code::kIntegrity, "its chunk tree has no item of the device");
    std::vector<Piece> pieces;
    for (block::Extent place : chunks.places_of(block::Extent{logical, logical + super.node_bytes})) {
        Bytes leaf = block::read_extent(part, place);
        if (!btrfs_checksum_matches(super.checksum, leaf))
            throw_error(Code::kIntegrity, "a copy of the chunk tree's block at {} is damaged", place.begin);
        store_le<std::uint64_t>(leaf, find_item(leaf, device) + kDeviceTotalBytes, bytes);
        put_checksum(super, leaf);
        pieces.push_back({place.begin, std::move(leaf)});
    }
    return pieces;
}

}  // namespace

std::vector<Piece> grow_btrfs_to(const block::Reader& part, std::uint64_t bytes) {
    const BtrfsSuper super = read_btrfs_super(part);
    const std::uint64_t after = align_down(bytes, super.sector_bytes);
    if (after < super.device_bytes || after > part.geometry().size_bytes)
        throw_error(Code::kRefused, "a btrfs of {} bytes cannot become one of {} in {}", super.device_bytes,
                    after, part.geometry().size_bytes);
    std::vector<Piece> pieces = grow_device_item(part, super, after);
    // The copies first: what counts is the one at the first place. Copies that the larger size makes room for
    // are written by the kernel with its first commit.
    for (std::size_t i = BtrfsSuper::kPlaces.size(); i-- > 0;) {
        const ByteOffset place = BtrfsSuper::kPlaces[i];
        if (place + BtrfsSuper::kBytes > super.device_bytes) continue;
        Bytes block =
            block::read_extent(part, {BtrfsSuper::kPlaces[0], BtrfsSuper::kPlaces[0] + BtrfsSuper::kBytes});
        const std::uint64_t total = load_le<std::uint64_t>(block, kTotalBytes);
        if (total < super.device_bytes)
            throw_error(Code::kIntegrity, "its superblock counts {} bytes, its device {}", total,
                        super.device_bytes);
        store_le<std::uint64_t>(block, kTotalBytes, total - super.device_bytes + after);
        store_le<std::uint64_t>(block, kDeviceItem + kDeviceTotalBytes, after);
        store_le<std::uint64_t>(block, kOwnPlace, place);
        put_checksum(super, block);
        pieces.push_back({place, std::move(block)});
    }
    return pieces;
}

}  // namespace dupengine::layout
