// One boot record's fields.

#include <algorithm>

#include "layout/mbr.h"

namespace dupengine::layout::mbr {
namespace {

constexpr std::size_t kSignatureAt = 440, kBootSignatureAt = 510;
constexpr std::uint16_t kBootSignature = 0xAA55;

// Cylinder, head and sector as every BIOS since the nineties translates them: 255 heads, 63 sectors. What
// does not fit is the last place that does.
void store_chs(std::span<std::byte> at, std::uint64_t lba) {
    constexpr std::uint64_t kHeads = 255, kSectors = 63, kCylinders = 1024;
    std::uint64_t cylinder = lba / (kHeads * kSectors), head = lba / kSectors % kHeads,
                  sector = lba % kSectors + 1;
    if (cylinder >= kCylinders) cylinder = kCylinders - 1, head = kHeads - 1, sector = kSectors;
    at[0] = std::byte(head);
    at[1] = std::byte(sector | (cylinder >> 8) << 6);
    at[2] = std::byte(cylinder & 0xFF);
}

}  // namespace

bool has_boot_signature(std::span<const std::byte> sector) {
    return sector.size() >= 512 && load_le<std::uint16_t>(sector, kBootSignatureAt) == kBootSignature;
}

void set_boot_signature(std::span<std::byte> sector) {
    store_le<std::uint16_t>(sector, kBootSignatureAt, kBootSignature);
}

std::uint32_t load_signature(std::span<const std::byte> sector) {
    return load_le<std::uint32_t>(sector, kSignatureAt);
}

void store_signature(std::span<std::byte> sector, std::uint32_t signature) {
    store_le<std::uint32_t>(sector, kSignatureAt, signature);
}

Entry load_entry(std::span<const std::byte> sector, std::size_t slot) {
    const std::size_t at = kEntriesAt + slot * kEntryBytes;
    Entry entry;
    entry.status = load_le<std::uint8_t>(sector, at);
    entry.type = load_le<std::uint8_t>(sector, at + 4);
    entry.start = load_le<std::uint32_t>(sector, at + 8);
    entry.sectors = load_le<std::uint32_t>(sector, at + 12);
    return entry;
}

void store_entry(std::span<std::byte> sector, std::size_t slot, const Entry& entry, std::uint64_t lba) {
    if (load_entry(sector, slot) == entry) return;
    const auto at = sector.subspan(kEntriesAt + slot * kEntryBytes, kEntryBytes);
    std::fill(at.begin(), at.end(), std::byte{0});
    if (!entry.used()) return;
    store_le<std::uint8_t>(at, 0, entry.status);
    store_chs(at.subspan(1, 3), lba);
    store_le<std::uint8_t>(at, 4, entry.type);
    store_chs(at.subspan(5, 3), lba + entry.sectors - 1);
    store_le<std::uint32_t>(at, 8, entry.start);
    store_le<std::uint32_t>(at, 12, entry.sectors);
}

}  // namespace dupengine::layout::mbr
