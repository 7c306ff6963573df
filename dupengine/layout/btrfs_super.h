#pragma once
// The superblock of btrfs: where the trees are, and whether all that it needs is on this one device and
// understood. Internal to layout/. Format: linux/btrfs_tree.h and fs/btrfs/ in the kernel, and the on-disk
// format page of the btrfs documentation.

#include <array>
#include <cstdint>

#include "block/device.h"

namespace dupengine::layout {

using BtrfsUuid = std::array<std::byte, 16>;

enum class BtrfsChecksum : std::uint16_t { kCrc32c = 0, kXxhash64 = 1, kSha256 = 2, kBlake2b = 3 };

/// The root of a tree, as whoever refers to it describes it.
struct BtrfsRoot {
    std::uint64_t logical = 0;
    std::uint64_t generation = 0;
    std::uint64_t owner = 0;  ///< the number of the tree
    unsigned level = 0;
};

struct BtrfsSuper {
    static constexpr std::uint64_t kBytes = 4 * kKiB;
    /// The first is the one that counts; the others are copies for repair programs.
    static constexpr std::array<ByteOffset, 3> kPlaces = {64 * kKiB, 64 * kMiB, 256 * kGiB};
    static constexpr unsigned kLevels = 8;

    BtrfsChecksum checksum = BtrfsChecksum::kCrc32c;
    BtrfsUuid tree_fsid{};  ///< that every block of a tree carries
    BtrfsUuid device_uuid{};
    std::uint64_t device = 0;  ///< its number in the filesystem
    std::uint64_t device_bytes = 0;
    std::uint64_t sector_bytes = 0, node_bytes = 0;
    std::uint64_t bytes_used = 0;  ///< the sum of all extents, in logical bytes
    std::uint64_t generation = 0;
    BtrfsRoot root_tree, chunk_tree;
    std::uint64_t log_root = 0;  ///< 0: no log to be replayed
    Bytes system_chunks;         ///< what is needed to read the chunk tree: keys, each with its chunk
};

/// Throws kIntegrity for what is damaged, on several devices, or not understood.
BtrfsSuper read_btrfs_super(const block::Reader& part);

/// The checksum of a superblock or a block of a tree, which stands at its beginning; as long as its type is.
/// Throws kIntegrity for a type that cannot be computed.
Bytes btrfs_checksum_of(BtrfsChecksum type, std::span<const std::byte> block);
/// Whether a superblock or a block of a tree matches the checksum at its beginning.
bool btrfs_checksum_matches(BtrfsChecksum type, std::span<const std::byte> block);

}  // namespace dupengine::layout
