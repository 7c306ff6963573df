#include "layout/f2fs_checkpoint.h"

#include <algorithm>
#include <optional>

namespace dupengine::layout {
namespace {

constexpr std::uint32_t kMagic = 0xF2F52010;  // also the seed of every checksum

constexpr std::uint64_t kLogs = 6;  // segments written to at a time: three of data, three of nodes

constexpr std::uint32_t kKnownFeatures =
    0x1 /*encrypt*/ | 0x8 /*extra attributes*/ | 0x10 /*project quota*/ | 0x20 /*inode checksums*/ |
    0x40 /*flexible inline xattr*/ | 0x80 /*quota inodes*/ | 0x100 /*creation time*/ | 0x200 /*lost+found*/ |
    0x400 /*verity*/ | 0x800 /*checksum*/ | 0x1000 /*casefold*/ | 0x2000 /*compression*/;
constexpr std::uint32_t kZoned = 0x2, kSuperChecksum = 0x800, kReadOnly = 0x4000;

// Flags of a checkpoint.
constexpr std::uint32_t kUnmounted = 0x1, kCompactSummaries = 0x4, kErrors = 0x8, kNeedsFsck = 0x10,
                        kChecksumInNodes = 0x40, kLargeNatBitmap = 0x400, kDisabled = 0x1000,
                        kDisabledQuickly = 0x2000, kResizing = 0x4000, kKnownFlags = 0x7FFF;

// CRC-32 with the magic number as its seed and no inversion at the end. The usual one begins with all ones,
// which the first four bytes make good: a seed works as if it were XORed to them.
std::uint32_t checksum(std::span<const std::byte> bytes, std::uint32_t seed = kMagic) {
    Bytes seeded(bytes.begin(), bytes.end());
    store_le<std::uint32_t>(seeded, 0, load_le<std::uint32_t>(seeded, 0) ^ seed ^ ~std::uint32_t{0});
    return ~crc32(seeded);
}

void check_features(std::span<const std::byte> super) {
    const auto features = load_le<std::uint32_t>(super, 2180);
    if ((features & kZoned) != 0) throw_error(Code::kIntegrity, "it is made for a zoned device");
    if ((features & kReadOnly) != 0) throw_error(Code::kIntegrity, "feature ro: never written again, packed");
    if ((features & ~kKnownFeatures) != 0)
        throw_error(Code::kIntegrity, "unknown feature {:#x}", features & ~kKnownFeatures);
    if (super[2201] != std::byte{0}) throw_error(Code::kIntegrity, "it is on several devices");
    if ((features & kSuperChecksum) == 0) return;
    constexpr std::size_t kChecksumAt = 3068;
    if (load_le<std::uint32_t>(super, 32) != kChecksumAt ||
        load_le<std::uint32_t>(super, kChecksumAt) != checksum(super.first(kChecksumAt)))
        throw_error(Code::kIntegrity, "the superblock does not match its checksum");
}

F2fsSuper parse_super(std::span<const std::byte> super, std::uint64_t part_bytes) {
    const auto u32 = [&](std::size_t at) -> std::uint64_t { return load_le<std::uint32_t>(super, at); };
    if (u32(0) != kMagic) throw_error(Code::kIntegrity, "no superblock");
    check_features(super);
    if (u32(16) != 12 || u32(20) != 9 || u32(8) < 9 || u32(8) > 12 || u32(8) + u32(12) != 12)
        throw_error(Code::kIntegrity, "blocks of 2^{} bytes, segments of 2^{} blocks, sectors of 2^{} bytes",
                    u32(16), u32(20), u32(8));
    F2fsSuper result;
    result.blocks = load_le<std::uint64_t>(super, 36);
    if (checked_mul(result.blocks, kF2fsBlock, "the count of blocks") > part_bytes)
        throw_error(Code::kIntegrity, "the filesystem covers {} bytes, the partition has {}",
                    result.blocks * kF2fsBlock, part_bytes);
    // Checkpoints, SIT, NAT, SSA and main area: counts of segments from 52, first blocks from 76.
    std::uint64_t next = u32(72), segments = 0;
    for (std::size_t area = 0; area < 5; ++area) {
        if (u32(76 + 4 * area) != next)
            throw_error(Code::kIntegrity, "area {} begins at block {}, not {}", area, u32(76 + 4 * area),
                        next);
        next += u32(52 + 4 * area) * kF2fsSegment;
        segments += u32(52 + 4 * area);
    }
    result.checkpoints = u32(76);
    result.sit = u32(80);
    result.main = u32(92);
    result.segments = u32(68);
    result.sit_blocks = u32(56) / 2 * kF2fsSegment;
    result.payload = u32(1664);
    result.zone_blocks = checked_mul(checked_mul(u32(24), u32(28), "a zone"), kF2fsSegment, "a zone");
    constexpr std::uint64_t kEntriesInBlock = kF2fsBlock / kF2fsSitEntry;
    if (u32(52) != 2 || u32(56) == 0 || u32(56) % 2 != 0 || result.segments == 0 || u32(72) < 2 ||
        result.sit_blocks * kEntriesInBlock < result.segments || segments > u32(48) || next > result.blocks ||
        result.payload >= kF2fsSegment - 2 - kLogs)
        throw_error(Code::kIntegrity, "{} segments for checkpoints, {} for the SIT, {} of data, {} blocks",
                    u32(52), u32(56), result.segments, result.blocks);
    return result;
}

// A checkpoint: a header, perhaps more of it, orphans, summaries, and the header again.
struct Pack {
    std::uint64_t first = 0, blocks = 0;
    Bytes header;

    std::uint32_t u32(std::size_t at) const { return load_le<std::uint32_t>(header, at); }
    std::uint64_t version() const { return load_le<std::uint64_t>(header, 0); }
    bool has(std::uint32_t flag) const { return (u32(132) & flag) != 0; }
};

constexpr std::size_t kBitmapAt = 192;

Bytes read_blocks(const block::Reader& part, std::uint64_t first, std::uint64_t count) {
    return block::read_extent(part, {first * kF2fsBlock, (first + count) * kF2fsBlock});
}

bool matches_checksum(std::span<const std::byte> header) {
    const std::size_t at = load_le<std::uint32_t>(header, 164), end = at + sizeof(std::uint32_t);
    if (at < kBitmapAt || end > kF2fsBlock || at % 4 != 0) return false;
    std::uint32_t crc = checksum(header.first(at));
    if (end < kF2fsBlock) crc = checksum(header.subspan(end), crc);
    return crc == load_le<std::uint32_t>(header, at);
}

// Nothing if it was not written to its end.
std::optional<Pack> read_pack(const block::Reader& part, const F2fsSuper& super, unsigned number) {
    Pack pack;
    pack.first = super.checkpoints + number * kF2fsSegment;
    pack.header = read_blocks(part, pack.first, 1);
    pack.blocks = pack.u32(136);
    if (!matches_checksum(pack.header) || pack.blocks <= 2 || pack.blocks > kF2fsSegment) return std::nullopt;
    const Bytes end = read_blocks(part, pack.first + pack.blocks - 1, 1);
    if (!matches_checksum(end) || load_le<std::uint64_t>(end, 0) != pack.version()) return std::nullopt;
    return pack;
}

Pack newest_pack(const block::Reader& part, const F2fsSuper& super) {
    auto first = read_pack(part, super, 0), second = read_pack(part, super, 1);
    if (!first && !second) throw_error(Code::kIntegrity, "neither of its checkpoints is whole");
    if (!first) return *second;
    if (!second) return *first;
    return static_cast<std::int64_t>(second->version() - first->version()) > 0 ? *second : *first;
}

void check_flags(const Pack& pack) {
    if (!pack.has(kUnmounted)) throw_error(Code::kIntegrity, "not cleanly unmounted");
    if (pack.has(kErrors | kNeedsFsck)) throw_error(Code::kIntegrity, "it is marked as having errors");
    if (pack.has(kDisabled | kDisabledQuickly)) throw_error(Code::kIntegrity, "its checkpoints are disabled");
    if (pack.has(kResizing)) throw_error(Code::kIntegrity, "it was being resized");
    if (pack.has(~kKnownFlags))
        throw_error(Code::kIntegrity, "unknown flags {:#x} of its checkpoint", pack.u32(132) & ~kKnownFlags);
}

// The flag of a clean unmount stays until the next checkpoint. Files that were flushed in between begin a
// chain of nodes behind what the checkpoint knows of the segment of warm nodes; they carry its version, and
// the next mount rolls forward along them.
void check_nothing_to_recover(const block::Reader& part, const F2fsSuper& super, const Pack& pack) {
    constexpr std::size_t kWarm = 1, kVersionInNode = kF2fsBlock - 12;
    const std::uint64_t segment = pack.u32(36 + 4 * kWarm);
    const std::uint64_t in_segment = load_le<std::uint16_t>(pack.header, 68 + 2 * kWarm);
    if (segment >= super.segments || in_segment >= kF2fsSegment)
        throw_error(Code::kIntegrity, "nodes go on at block {} of segment {} of {}", in_segment, segment,
                    super.segments);
    std::uint64_t version = pack.version();
    if (pack.has(kChecksumInNodes)) version |= std::uint64_t{pack.u32(pack.u32(164))} << 32;
    const Bytes node = read_blocks(part, super.main + segment * kF2fsSegment + in_segment, 1);
    if (load_le<std::uint64_t>(node, kVersionInNode) == version)
        throw_error(Code::kIntegrity, "not cleanly unmounted: files were flushed after its last checkpoint");
}

Bytes read_sit_versions(const block::Reader& part, const F2fsSuper& super, const Pack& pack) {
    const std::uint64_t bytes = pack.u32(156);
    if (bytes != super.sit_blocks / 8)
        throw_error(Code::kIntegrity, "its checkpoint has {} bytes for the versions of {} SIT blocks", bytes,
                    super.sit_blocks);
    std::uint64_t at = kBitmapAt;
    if (pack.has(kLargeNatBitmap)) {
        at += sizeof(std::uint32_t) + pack.u32(160);  // behind the checksum and the bitmap of the NAT
    } else if (super.payload > 0) {
        at = kF2fsBlock;
    }
    const std::uint64_t blocks = (at + bytes + kF2fsBlock - 1) / kF2fsBlock;
    if (blocks > 1 + super.payload || blocks >= pack.blocks)
        throw_error(Code::kIntegrity, "its checkpoint has no room for the versions of {} SIT blocks",
                    super.sit_blocks);
    const Bytes all = read_blocks(part, pack.first, blocks);
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(at);
    return {begin, begin + static_cast<std::ptrdiff_t>(bytes)};
}

// The journal of the summary of cold data. Compact summaries begin with the journals of NAT and SIT; else
// there is one block for each of three kinds of data and three of nodes, just before the header's repetition,
// with the journal behind the 512 entries.
void read_journal(const block::Reader& part, const F2fsSuper& super, const Pack& pack,
                  F2fsCheckpoint& result) {
    constexpr std::size_t kSummaries = 512 * 7, kJournal = kF2fsBlock - kSummaries - 5,
                          kEntry = 4 + kF2fsSitEntry;
    constexpr std::uint64_t kColdData = 2;
    const bool compact = pack.has(kCompactSummaries);
    const std::uint64_t block = compact ? pack.u32(140) : pack.blocks - 1 - kLogs + kColdData;
    if (block == 0 || block >= pack.blocks || (!compact && pack.blocks < kLogs + 2))
        throw_error(Code::kIntegrity, "its checkpoint of {} blocks has its summaries in block {}",
                    pack.blocks, block);
    const Bytes bytes = read_blocks(part, pack.first + block, 1);
    const auto journal = std::span(bytes).subspan(compact ? kJournal : kSummaries, kJournal);
    const std::size_t count = load_le<std::uint16_t>(journal, 0);
    if (count > (kJournal - 2) / kEntry) throw_error(Code::kIntegrity, "a journal of {} SIT entries", count);
    for (std::size_t i = 0; i < count; ++i) {
        const auto entry = journal.subspan(2 + i * kEntry, kEntry);
        const auto segment = load_le<std::uint32_t>(entry, 0);
        if (segment >= super.segments)
            throw_error(Code::kIntegrity, "a journal entry for segment {} of {}", segment, super.segments);
        std::copy_n(entry.begin() + 4, kF2fsSitEntry, result.newer[segment].begin());
    }
}

}  // namespace

F2fsSuper read_f2fs_super(const block::Reader& part) {
    constexpr std::uint64_t kOffset = 1024, kSize = 3072;
    if (part.geometry().size_bytes < 2 * kF2fsBlock)
        throw_error(Code::kIntegrity, "too small for its superblocks");
    const auto read = [&](std::uint64_t block) {
        const ByteOffset at = block * kF2fsBlock + kOffset;
        return parse_super(block::read_extent(part, {at, at + kSize}), part.geometry().size_bytes);
    };
    try {
        return read(0);
    } catch (const Error& first) {
        if (first.code() != Code::kIntegrity) throw;
        try {
            F2fsSuper super = read(1);
            super.note = fmt::format("its first superblock is damaged ({}); copied as it is", first.what());
            return super;
        } catch (const Error& second) {
            if (second.code() != Code::kIntegrity) throw;
        }
        throw first;
    }
}

F2fsCheckpoint read_f2fs_checkpoint(const block::Reader& part, const F2fsSuper& super) {
    const Pack pack = newest_pack(part, super);
    check_flags(pack);
    check_nothing_to_recover(part, super, pack);
    F2fsCheckpoint result;
    result.sit_versions = read_sit_versions(part, super, pack);
    result.valid_blocks = load_le<std::uint64_t>(pack.header, 16);
    result.valid_nodes = pack.u32(144);
    read_journal(part, super, pack, result);
    return result;
}

}  // namespace dupengine::layout
