// A table for a disk of other sectors: the same bytes, counted in other units.

#include <algorithm>

#include "layout/gpt.h"
#include "layout/mbr.h"
#include "layout/partition_table.h"

namespace dupengine::layout {
namespace {

constexpr std::size_t kBootSectorBytes = 512;  // what counts of sector 0, whatever its size

void require_whole_sectors(const Partition& partition, std::uint32_t sector_bytes) {
    for (const ByteOffset at : {partition.extent.begin, partition.extent.end})
        if (at % sector_bytes != 0)
            throw_error(Code::kRefused, "partition {} {} at byte {}, which is no multiple of {}",
                        partition.number, at == partition.extent.begin ? "begins" : "ends", at, sector_bytes);
}

std::uint64_t sectors_up(std::uint64_t sectors, std::uint32_t from, std::uint32_t to) {
    return (checked_mul(sectors, from, "a sector of the table") + to - 1) / to;
}

// A hybrid MBR names GPT partitions a second time, and its protective entry ends before the first of them.
void convert_hybrid_entries(std::span<std::byte> sector0, std::uint32_t from, std::uint32_t to) {
    for (std::size_t slot = 0; slot < mbr::kSlots; ++slot) {
        mbr::Entry entry = mbr::load_entry(sector0, slot);
        if (!entry.used()) continue;
        const std::uint64_t begin = std::uint64_t{entry.start} * from;
        const std::uint64_t end = begin + std::uint64_t{entry.sectors} * from;
        const bool protective = entry.type == mbr::kTypeProtective;
        if (!protective && (begin % to != 0 || end % to != 0))
            throw_error(Code::kRefused, "entry {} of the hybrid MBR is not made of whole {} byte sectors",
                        slot + 1, to);
        if (!protective && end / to > mbr::kMaxLba)
            throw_error(Code::kRefused, "entry {} of the hybrid MBR lies behind what 32 bits reach",
                        slot + 1);
        const std::uint64_t start = protective ? 1 : begin / to;
        const std::uint64_t sectors = std::clamp<std::uint64_t>(end / to, start + 1, mbr::kMaxLba) - start;
        entry.start = static_cast<std::uint32_t>(start);
        entry.sectors = static_cast<std::uint32_t>(sectors);
        mbr::store_entry(sector0, slot, entry, start);
    }
}

void convert_gpt(PartitionTable& table, std::uint32_t from, std::uint32_t to) {
    std::size_t used = 0;
    for (std::size_t slot = 0; slot < mbr::kSlots; ++slot)
        if (mbr::load_entry(table.sector0, slot).used()) ++used;
    if (used > 1 && gpt::announced_by(table.sector0)) convert_hybrid_entries(table.sector0, from, to);
    table.first_usable_lba = sectors_up(table.first_usable_lba, from, to);
    table.reserved_tail_sectors = sectors_up(table.reserved_tail_sectors, from, to);
    if (table.entries_lba != 2)
        table.entries_lba = std::max<std::uint64_t>(2, sectors_up(table.entries_lba, from, to));
}

// The records of the chain stand one sector before their partition, or a track: they are laid anew.
void convert_mbr(PartitionTable& table, std::uint32_t to) {
    table.mbr_chain.clear();
    if (!table.mbr_extended) return;
    if (table.mbr_extended->begin % to != 0)
        throw_error(Code::kRefused, "the extended partition begins at byte {}, which is no multiple of {}",
                    table.mbr_extended->begin, to);
    table.mbr_extended->end = align_down(table.mbr_extended->end, to);  // its partitions end before
}

}  // namespace

PartitionTable table_for_sectors(PartitionTable table, std::uint32_t sector_bytes) {
    const std::uint32_t from = table.sector_bytes;
    if (table.kind == TableKind::kNone || from == sector_bytes) return table;
    for (const Partition& partition : table.partitions)
        require_whole_sectors(partition, sector_bytes);
    table.sector0.resize(kBootSectorBytes);
    if (table.kind == TableKind::kGpt)
        convert_gpt(table, from, sector_bytes);
    else
        convert_mbr(table, sector_bytes);
    table.sector0.resize(sector_bytes);
    table.sector_bytes = sector_bytes;
    return table;
}

}  // namespace dupengine::layout
