// The MBR in front of a GPT: it keeps tools that know no GPT from taking the disk for an empty one.

#include <algorithm>
#include <array>

#include "layout/gpt.h"
#include "layout/mbr.h"

namespace dupengine::layout::gpt {
namespace {

// What sfdisk writes for every disk, and the standard for what cannot be said in cylinders, heads and
// sectors.
constexpr std::array<std::byte, 3> kNoChs = {std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF}};

std::span<std::byte, 3> end_chs_of(std::span<std::byte> sector, std::size_t slot) {
    constexpr std::size_t kEndChsAt = 5;
    return std::span<std::byte, 3>(sector.subspan(mbr::kEntriesAt + slot * mbr::kEntryBytes + kEndChsAt, 3));
}

// An entry that covers the disk from sector 1; the end says "too large" if it did before or if it is.
void store_protective(std::span<std::byte> sector, std::size_t slot, std::uint32_t sectors,
                      bool without_chs) {
    mbr::store_entry(sector, slot, {0, mbr::kTypeProtective, 1, sectors}, 1);
    const auto end_chs = end_chs_of(sector, slot);
    const bool too_large = end_chs[0] == std::byte{0xFE} && end_chs[1] == std::byte{0xFF};
    if (without_chs || too_large) std::copy(kNoChs.begin(), kNoChs.end(), end_chs.begin());
}

}  // namespace

bool announced_by(std::span<const std::byte> sector0) {
    if (!mbr::has_boot_signature(sector0)) return false;
    for (std::size_t slot = 0; slot < mbr::kSlots; ++slot)
        if (mbr::load_entry(sector0, slot).type == mbr::kTypeProtective) return true;
    return false;
}

Bytes protective_sector0(const PartitionTable& table, std::uint64_t disk_sectors) {
    Bytes sector = table.sector0;
    sector.resize(table.sector_bytes);
    if (mbr::load_signature(sector) != table.mbr_signature) mbr::store_signature(sector, table.mbr_signature);
    const auto sectors = static_cast<std::uint32_t>(std::min(disk_sectors - 1, mbr::kMaxLba));
    if (!announced_by(sector)) {
        for (std::size_t slot = 0; slot < mbr::kSlots; ++slot)
            mbr::store_entry(sector, slot, {}, 0);
        store_protective(sector, 0, sectors, true);
        mbr::set_boot_signature(sector);
        return sector;
    }
    std::size_t used = 0, protective = 0;
    for (std::size_t slot = 0; slot < mbr::kSlots; ++slot) {
        const mbr::Entry entry = mbr::load_entry(sector, slot);
        if (entry.used()) ++used;
        if (entry.type == mbr::kTypeProtective) protective = slot;
    }
    const mbr::Entry entry = mbr::load_entry(sector, protective);
    // Hybrid: its protective entry ends before the first partition that it lists. Some tools cover 2 TiB
    // always.
    if (used > 1 || entry.sectors == mbr::kMaxLba || entry.sectors == sectors) return sector;
    const auto end_chs = end_chs_of(sector, protective);
    store_protective(sector, protective, sectors, std::equal(kNoChs.begin(), kNoChs.end(), end_chs.begin()));
    return sector;
}

}  // namespace dupengine::layout::gpt
