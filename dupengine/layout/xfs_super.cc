#include "layout/xfs_super.h"

#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <bit>

namespace dupengine::layout {
namespace {

constexpr std::uint32_t kMagic = 0x58465342;  // "XFSB"
constexpr std::size_t kReadBytes = 512;       // all fields are in the first sector, whatever its size
constexpr std::size_t kCrcAt = 224;

// sb_versionnum: the version below, features above (version 4 only; version 5 has all of them set).
constexpr unsigned kVersionMask = 0x000F, kShared = 0x0200, kMoreBits = 0x8000;
// sb_features2
constexpr std::uint32_t kLazyCounts = 0x002, kKnownFeatures2 = 0x002 | 0x008 | 0x080 | 0x200;

// Version 5. None of those that are known moves or hides free space of the data device.
constexpr std::uint32_t kKnownReadOnly =
    0x1 /*finobt*/ | 0x2 /*rmapbt*/ | 0x4 /*reflink*/ | 0x8 /*inobtcount*/;
constexpr std::uint32_t kMetaUuid = 0x4, kNeedsRepair = 0x10;
constexpr std::uint32_t kKnownIncompatible = 0x1 /*ftype*/ | 0x2 /*sparse inodes*/ | kMetaUuid |
                                             0x8 /*bigtime*/ | kNeedsRepair | 0x20 /*nrext64*/ |
                                             0x40 /*exchange-range*/ | 0x80 /*parent*/;
constexpr std::uint32_t kKnownLog = 0x1 /*logged extended attributes*/;

void refuse_unknown(std::uint32_t bits, std::uint32_t known, const char* kind) {
    if ((bits & ~known) != 0) throw_error(Code::kIntegrity, "unknown {} feature {:#x}", kind, bits & ~known);
}

void check_features(std::span<const std::byte> sector, XfsSuper& super) {
    const unsigned version_bits = load_be<std::uint16_t>(sector, 100), version = version_bits & kVersionMask;
    if (version != 4 && version != 5) throw_error(Code::kIntegrity, "version {} is not known", version);
    super.checksums = version == 5;
    // Where a compiler padded the structure otherwise, sb_features2 went 4 bytes further; the kernel joins
    // both.
    const std::uint32_t features2 = load_be<std::uint32_t>(sector, 200) | load_be<std::uint32_t>(sector, 204);
    if (version == 4) {
        if ((version_bits & kShared) != 0)
            throw_error(Code::kIntegrity, "feature shared: never part of the kernel");
        if ((version_bits & kMoreBits) != 0) refuse_unknown(features2, kKnownFeatures2, "version 4");
        super.lazy_counts = (version_bits & kMoreBits) != 0 && (features2 & kLazyCounts) != 0;
        return;
    }
    super.lazy_counts = true;
    refuse_unknown(load_be<std::uint32_t>(sector, 212), kKnownReadOnly, "read-only-compatible");
    const auto incompatible = load_be<std::uint32_t>(sector, 216);
    refuse_unknown(incompatible, kKnownIncompatible, "incompatible");
    if ((incompatible & kNeedsRepair) != 0)
        throw_error(Code::kIntegrity, "it is marked as needing xfs_repair");
    refuse_unknown(load_be<std::uint32_t>(sector, 220), kKnownLog, "log");
    const std::size_t uuid_at = (incompatible & kMetaUuid) != 0 ? 248 : 32;
    std::copy_n(sector.begin() + static_cast<std::ptrdiff_t>(uuid_at), super.uuid.size(), super.uuid.begin());
}

// A size, stored both as a number and as its logarithm.
std::uint64_t power_of_two(std::uint64_t value, unsigned log, std::uint64_t least, std::uint64_t most,
                           const char* what) {
    if (!std::has_single_bit(value) || value < least || value > most)
        throw_error(Code::kIntegrity, "{} of {} bytes", what, value);
    if (std::uint64_t(std::countr_zero(value)) != log)
        throw_error(Code::kIntegrity, "{} of {} bytes with the logarithm {}", what, value, log);
    return value;
}

void read_geometry(std::span<const std::byte> sector, std::uint64_t part_bytes, XfsSuper& super) {
    const auto log_of = [&](std::size_t at) { return std::to_integer<unsigned>(sector[at]); };
    super.block_bytes =
        power_of_two(load_be<std::uint32_t>(sector, 4), log_of(120), 512, 64 * kKiB, "blocks");
    super.sector_bytes =
        power_of_two(load_be<std::uint16_t>(sector, 102), log_of(121), 512, 32 * kKiB, "sectors");
    if (super.sector_bytes > super.block_bytes)
        throw_error(Code::kIntegrity, "sectors of {} bytes in blocks of {}", super.sector_bytes,
                    super.block_bytes);
    super.blocks = load_be<std::uint64_t>(sector, 8);
    super.group_blocks = load_be<std::uint32_t>(sector, 84);
    super.groups = load_be<std::uint32_t>(sector, 88);
    const std::uint64_t bytes = checked_mul(super.blocks, super.block_bytes, "the count of blocks");
    if (bytes > part_bytes)
        throw_error(Code::kIntegrity, "the filesystem covers {} bytes, the partition has {}", bytes,
                    part_bytes);
    // Two 32-bit numbers: no overflow.
    if (super.groups == 0 || super.group_blocks <= super.header_blocks() ||
        super.blocks > super.groups * super.group_blocks ||
        super.blocks <= (super.groups - 1) * super.group_blocks + super.header_blocks())
        throw_error(Code::kIntegrity, "{} blocks in {} groups of {}", super.blocks, super.groups,
                    super.group_blocks);
    if (static_cast<unsigned>(std::bit_width(super.group_blocks - 1)) != log_of(124))
        throw_error(Code::kIntegrity, "groups of {} blocks with the logarithm {}", super.group_blocks,
                    log_of(124));
}

// sb_logstart is a block address: the group in the upper bits, the block in it below.
void read_log_place(std::span<const std::byte> sector, XfsSuper& super) {
    const auto start = load_be<std::uint64_t>(sector, 48);
    const std::uint64_t count = load_be<std::uint32_t>(sector, 96);
    const unsigned shift = std::to_integer<unsigned>(sector[124]);
    if (start == 0) throw_error(Code::kIntegrity, "its log is on another device");
    const std::uint64_t group = start >> shift, in_group = start & ((std::uint64_t{1} << shift) - 1);
    if (group >= super.groups || in_group < super.header_blocks() || count == 0 ||
        in_group + count > super.blocks_in(group))
        throw_error(Code::kIntegrity, "its log would be {} blocks from block {} of group {}", count, in_group,
                    group);
    const std::uint64_t first = group * super.group_blocks + in_group;
    super.log = {first * super.block_bytes, (first + count) * super.block_bytes};
}

}  // namespace

void check_xfs_checksum(std::span<const std::byte> structure, std::size_t crc_at, const char* what) {
    constexpr std::array<unsigned char, 4> kZeros{};
    const auto update = [](std::uint32_t crc, std::span<const std::byte> bytes) {
        return ext2fs_crc32c_le(crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    };
    std::uint32_t crc = update(~std::uint32_t{0}, structure.first(crc_at));
    crc = ext2fs_crc32c_le(crc, kZeros.data(), kZeros.size());
    crc = update(crc, structure.subspan(crc_at + kZeros.size()));
    if (~crc != load_le<std::uint32_t>(structure, crc_at))
        throw_error(Code::kIntegrity, "{} does not match its checksum", what);
}

XfsSuper read_xfs_super(const block::Reader& part) {
    if (part.geometry().size_bytes < kReadBytes) throw_error(Code::kIntegrity, "too small for a superblock");
    const Bytes sector = block::read_extent(part, {0, kReadBytes});
    if (load_be<std::uint32_t>(sector, 0) != kMagic) throw_error(Code::kIntegrity, "no superblock");
    XfsSuper super;
    check_features(sector, super);
    read_geometry(sector, part.geometry().size_bytes, super);
    if (super.checksums)
        check_xfs_checksum(block::read_extent(part, {0, super.sector_bytes}), kCrcAt, "the superblock");
    if (std::to_integer<unsigned>(sector[126]) != 0)
        throw_error(Code::kIntegrity, "mkfs.xfs did not finish it");
    if (load_be<std::uint64_t>(sector, 16) != 0 || load_be<std::uint64_t>(sector, 24) != 0)
        throw_error(Code::kIntegrity, "it has a realtime device");
    read_log_place(sector, super);
    super.free_blocks = load_be<std::uint64_t>(sector, 144);
    return super;
}

}  // namespace dupengine::layout
