#include "engine/refit/moved_partition.h"

#include <algorithm>

namespace dupengine::engine {
namespace {

using Pieces = std::vector<layout::TableImage::Piece>;

constexpr std::uint64_t kBootSectorBytes = 512;
constexpr std::size_t kSectorBytesAt = 11;

struct Move {
    std::uint64_t before = 0, after = 0;  // in sectors
};

// FAT (Microsoft fatgen103, BPB_HiddSec) and NTFS have the same field.
void move_hidden_sectors(const block::Reader& part, ByteOffset at, Move move, Pieces& pieces) {
    constexpr std::size_t kHiddenAt = 28;
    if (at > part.geometry().size_bytes || part.geometry().size_bytes - at < kBootSectorBytes) return;
    Bytes sector = block::read_extent(part, {at, at + kBootSectorBytes});
    const bool is_boot_sector = load_le<std::uint16_t>(sector, 510) == 0xAA55;
    if (!is_boot_sector || load_le<std::uint32_t>(sector, kHiddenAt) != move.before) return;
    store_le<std::uint32_t>(sector, kHiddenAt, static_cast<std::uint32_t>(move.after));
    pieces.push_back({at, std::move(sector)});
}

void move_fat(const block::Reader& part, Move move, Pieces& pieces) {
    constexpr std::size_t kReservedAt = 14, kFatSectors16At = 22, kBackupAt = 50;
    move_hidden_sectors(part, 0, move, pieces);
    const Bytes boot = block::read_extent(part, {0, kBootSectorBytes});
    const bool is_fat32 = load_le<std::uint16_t>(boot, kFatSectors16At) == 0;
    const auto backup = load_le<std::uint16_t>(boot, kBackupAt);
    if (is_fat32 && backup != 0 && backup < load_le<std::uint16_t>(boot, kReservedAt))
        move_hidden_sectors(part, std::uint64_t{backup} * load_le<std::uint16_t>(boot, kSectorBytesAt), move,
                            pieces);
}

void move_ntfs(const block::Reader& part, Move move, Pieces& pieces) {
    constexpr std::size_t kSectorCountAt = 40;
    move_hidden_sectors(part, 0, move, pieces);
    const Bytes boot = block::read_extent(part, {0, kBootSectorBytes});
    const auto count = load_le<std::uint64_t>(boot, kSectorCountAt);
    const std::uint64_t sector = load_le<std::uint16_t>(boot, kSectorBytesAt);
    if (sector != 0 && count != 0 && count <= part.geometry().size_bytes / sector)
        move_hidden_sectors(part, count * sector, move, pieces);
}

// exFAT (Microsoft's specification, 3.1): the main boot region of 12 sectors, then its backup. The last
// sector of each repeats a checksum over the others, without the bytes that change while it is mounted.
std::uint32_t exfat_checksum(std::span<const std::byte> sectors) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < sectors.size(); ++i)
        if (i != 106 && i != 107 && i != 112)
            sum = (sum << 31 | sum >> 1) + std::to_integer<std::uint32_t>(sectors[i]);
    return sum;
}

void move_exfat(const block::Reader& part, Move move, Pieces& pieces) {
    constexpr std::size_t kOffsetAt = 64, kSectorShiftAt = 108;
    constexpr std::uint64_t kRegionSectors = 12;
    const Bytes boot = block::read_extent(part, {0, kBootSectorBytes});
    const auto shift = std::to_integer<unsigned>(boot[kSectorShiftAt]);
    if (shift < 9 || shift > 12) return;
    const std::uint64_t sector = std::uint64_t{1} << shift, region = kRegionSectors * sector;
    for (const ByteOffset at : {std::uint64_t{0}, region}) {
        if (part.geometry().size_bytes - at < region) return;
        Bytes bytes = block::read_extent(part, {at, at + region});
        const std::span<std::byte> summed = std::span(bytes).first(region - sector);
        const bool is_whole = load_le<std::uint32_t>(bytes, summed.size()) == exfat_checksum(summed);
        if (!is_whole || load_le<std::uint64_t>(bytes, kOffsetAt) != move.before) continue;
        store_le<std::uint64_t>(bytes, kOffsetAt, move.after);
        const std::uint32_t checksum = exfat_checksum(summed);
        for (std::size_t i = summed.size(); i < region; i += sizeof checksum)
            store_le<std::uint32_t>(bytes, i, checksum);
        pieces.push_back({at, std::move(bytes)});
    }
}

}  // namespace

Pieces boot_sectors_for(const block::Reader& part, const std::string& type, ByteOffset before,
                        ByteOffset after, std::uint32_t sector_bytes) {
    const Move move{before / sector_bytes, after / sector_bytes};
    Pieces pieces;
    if (before == after || part.geometry().size_bytes < kBootSectorBytes) return pieces;
    if (type == "vfat") move_fat(part, move, pieces);
    if (type == "ntfs") move_ntfs(part, move, pieces);
    if (type == "exfat") move_exfat(part, move, pieces);
    return pieces;
}

bool has_boot_loader_in_front(const block::Reader& part, const std::string& type) {
    constexpr block::Extent kInFront{0, 1024};  // the superblock follows
    return type.starts_with("ext") && part.geometry().size_bytes >= kInFront.end &&
           !is_zero(block::read_extent(part, kInFront));
}

}  // namespace dupengine::engine
