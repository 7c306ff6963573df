#include "layout/btrfs_super.h"

#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <bit>

#include "codec/digest.h"

namespace dupengine::layout {
namespace {

constexpr std::size_t kChecksumBytes = 32;  // the room for it; what is shorter is followed by zeros

// Offsets in struct btrfs_super_block and, from kDeviceItem, in struct btrfs_dev_item.
enum Field : std::size_t {
    kFsid = 0x20,
    kOwnPlace = 0x30,
    kFlags = 0x38,
    kMagic = 0x40,
    kGeneration = 0x48,
    kRoot = 0x50,
    kChunkRoot = 0x58,
    kLogRoot = 0x60,
    kBytesUsed = 0x78,
    kDeviceCount = 0x88,
    kSectorBytes = 0x90,
    kNodeBytes = 0x94,
    kSystemChunkBytes = 0xA0,
    kChunkRootGeneration = 0xA4,
    kCompatRo = 0xB4,
    kIncompat = 0xBC,
    kChecksumType = 0xC4,
    kRootLevel = 0xC6,
    kChunkRootLevel = 0xC7,
    kDeviceItem = 0xC9,
    kMetadataUuid = 0x23B,
    kSystemChunks = 0x32B,
};
constexpr std::size_t kSystemChunkRoom = 2048;

constexpr std::uint64_t bit(unsigned n) {
    return std::uint64_t{1} << n;
}

// Of the features a reader must know: mixed backreferences, default subvolume, mixed groups, LZO, zstd, large
// metadata, extended references, skinny metadata, no holes, metadata UUID, raid1c34, simple quotas.
constexpr std::uint64_t kMetadataUuidFeature = bit(10);
constexpr std::uint64_t kKnownIncompat = bit(0) | bit(1) | bit(2) | bit(3) | bit(4) | bit(5) | bit(6) |
                                         bit(8) | bit(9) | kMetadataUuidFeature | bit(11) | bit(16);
// Of those a writer must know: free space tree (and its validity), verity, block group tree.
constexpr std::uint64_t kKnownCompatRo = bit(0) | bit(1) | bit(2) | bit(3);
// Written, relocating, and being a seed.
constexpr std::uint64_t kKnownFlags = bit(0) | bit(1) | bit(32);
constexpr std::uint64_t kErrorFlag = bit(2);

void check_features(std::span<const std::byte> super) {
    const auto incompat = load_le<std::uint64_t>(super, kIncompat);
    struct Named {
        unsigned number;
        const char* name;
    };
    static constexpr Named kRefused[] = {
        {7, "RAID 5 or 6"}, {12, "zoned"}, {13, "extent tree v2"}, {14, "RAID stripe tree"}};
    for (const Named& feature : kRefused)
        if ((incompat & bit(feature.number)) != 0)
            throw_error(Code::kIntegrity, "its feature {} is not understood", feature.name);
    if ((incompat & ~kKnownIncompat) != 0)
        throw_error(Code::kIntegrity, "unknown features {:#x}", incompat & ~kKnownIncompat);
    const auto compat_ro = load_le<std::uint64_t>(super, kCompatRo);
    if ((compat_ro & ~kKnownCompatRo) != 0)
        throw_error(Code::kIntegrity, "unknown read-only features {:#x}", compat_ro & ~kKnownCompatRo);
    const auto flags = load_le<std::uint64_t>(super, kFlags);
    if ((flags & kErrorFlag) != 0) throw_error(Code::kIntegrity, "it is marked as having errors");
    if ((flags & ~kKnownFlags) != 0)
        throw_error(Code::kIntegrity, "unknown flags {:#x}", flags & ~kKnownFlags);
}

BtrfsUuid uuid_at(std::span<const std::byte> super, std::size_t at) {
    BtrfsUuid uuid;
    std::copy_n(super.begin() + static_cast<std::ptrdiff_t>(at), uuid.size(), uuid.begin());
    return uuid;
}

void check_sizes(const BtrfsSuper& super, std::uint64_t part_bytes) {
    if (!std::has_single_bit(super.sector_bytes) || super.sector_bytes < 512 ||
        super.sector_bytes > 64 * kKiB)
        throw_error(Code::kIntegrity, "sectors of {} bytes", super.sector_bytes);
    if (!std::has_single_bit(super.node_bytes) || super.node_bytes < super.sector_bytes ||
        super.node_bytes < 4 * kKiB || super.node_bytes > 64 * kKiB)
        throw_error(Code::kIntegrity, "nodes of {} bytes", super.node_bytes);
    if (super.device_bytes > part_bytes || super.device_bytes < BtrfsSuper::kPlaces[0] + BtrfsSuper::kBytes)
        throw_error(Code::kIntegrity, "the filesystem covers {} bytes, the partition has {}",
                    super.device_bytes, part_bytes);
    if (super.root_tree.level >= BtrfsSuper::kLevels || super.chunk_tree.level >= BtrfsSuper::kLevels)
        throw_error(Code::kIntegrity, "trees of {} and {} levels", super.root_tree.level,
                    super.chunk_tree.level);
}

}  // namespace

Bytes btrfs_checksum_of(BtrfsChecksum type, std::span<const std::byte> block) {
    const auto covered = block.subspan(kChecksumBytes);
    switch (type) {
        case BtrfsChecksum::kCrc32c: {
            const std::uint32_t raw =
                ext2fs_crc32c_le(~0u, reinterpret_cast<const unsigned char*>(covered.data()), covered.size());
            Bytes checksum(sizeof raw);
            store_le<std::uint32_t>(checksum, 0, ~raw);
            return checksum;
        }
        case BtrfsChecksum::kXxhash64: {
            Bytes checksum(sizeof(std::uint64_t));
            store_le<std::uint64_t>(checksum, 0, codec::xxh64(covered));
            return checksum;
        }
        case BtrfsChecksum::kSha256: {
            const codec::Sha256 digest = codec::sha256(covered);
            return {digest.begin(), digest.end()};
        }
        case BtrfsChecksum::kBlake2b:
            break;
    }
    throw_error(Code::kIntegrity, "checksums of type {} cannot be verified", static_cast<unsigned>(type));
}

bool btrfs_checksum_matches(BtrfsChecksum type, std::span<const std::byte> block) {
    const Bytes checksum = btrfs_checksum_of(type, block);
    return std::equal(checksum.begin(), checksum.end(), block.begin());
}

BtrfsSuper read_btrfs_super(const block::Reader& part) {
    const std::uint64_t part_bytes = part.geometry().size_bytes;
    const ByteOffset at = BtrfsSuper::kPlaces[0];
    if (part_bytes < at + BtrfsSuper::kBytes) throw_error(Code::kIntegrity, "too small for a superblock");
    const Bytes bytes = block::read_extent(part, {at, at + BtrfsSuper::kBytes});
    if (as_text(std::span(bytes).subspan(kMagic, 8)) != "_BHRfS_M" ||
        load_le<std::uint64_t>(bytes, kOwnPlace) != at)
        throw_error(Code::kIntegrity, "no superblock at {}", at);
    BtrfsSuper super;
    const auto type = load_le<std::uint16_t>(bytes, kChecksumType);
    super.checksum = static_cast<BtrfsChecksum>(type);
    if (type == static_cast<unsigned>(BtrfsChecksum::kBlake2b))
        throw_error(Code::kIntegrity, "its checksums (BLAKE2b) cannot be verified");
    if (!btrfs_checksum_matches(super.checksum, bytes))
        throw_error(Code::kIntegrity, "its superblock does not match its checksum");
    check_features(bytes);

    const auto devices = load_le<std::uint64_t>(bytes, kDeviceCount);
    if (devices != 1) throw_error(Code::kIntegrity, "it is one of {} devices of a filesystem", devices);
    const auto incompat = load_le<std::uint64_t>(bytes, kIncompat);
    super.tree_fsid = uuid_at(bytes, (incompat & kMetadataUuidFeature) != 0 ? kMetadataUuid : kFsid);
    super.device = load_le<std::uint64_t>(bytes, kDeviceItem);
    super.device_bytes = load_le<std::uint64_t>(bytes, kDeviceItem + 8);
    super.device_uuid = uuid_at(bytes, kDeviceItem + 66);
    super.sector_bytes = load_le<std::uint32_t>(bytes, kSectorBytes);
    super.node_bytes = load_le<std::uint32_t>(bytes, kNodeBytes);
    super.bytes_used = load_le<std::uint64_t>(bytes, kBytesUsed);
    super.generation = load_le<std::uint64_t>(bytes, kGeneration);
    super.root_tree = {load_le<std::uint64_t>(bytes, kRoot), super.generation, 1,
                       std::to_integer<unsigned>(bytes[kRootLevel])};
    super.chunk_tree = {load_le<std::uint64_t>(bytes, kChunkRoot),
                        load_le<std::uint64_t>(bytes, kChunkRootGeneration), 3,
                        std::to_integer<unsigned>(bytes[kChunkRootLevel])};
    super.log_root = load_le<std::uint64_t>(bytes, kLogRoot);
    check_sizes(super, part_bytes);
    const std::size_t array_bytes = load_le<std::uint32_t>(bytes, kSystemChunkBytes);
    if (array_bytes == 0 || array_bytes > kSystemChunkRoom)
        throw_error(Code::kIntegrity, "{} bytes of system chunks", array_bytes);
    const auto array = std::span(bytes).subspan(kSystemChunks, array_bytes);
    super.system_chunks.assign(array.begin(), array.end());
    return super;
}

}  // namespace dupengine::layout
