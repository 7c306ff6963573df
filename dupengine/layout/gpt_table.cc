// From what was found of a GPT's two copies to one table, and what a person should hear about them.

#include <algorithm>
#include <map>

#include "layout/gpt.h"
#include "layout/mbr.h"

namespace dupengine::layout::gpt {
namespace {

void note_copies(PartitionTable& table, const Look& look, std::uint64_t disk_sectors) {
    auto& problems = table.problems;
    if (!look.primary.copy)
        problems.push_back(fmt::format("the primary GPT cannot be used ({}); its backup at sector {} is used",
                                       look.primary.reason, look.backup.lba));
    if (!look.backup.copy)
        problems.push_back(fmt::format("the backup GPT at sector {} cannot be used: {}", look.backup.lba,
                                       look.backup.reason));
    if (look.backup.copy && look.backup.lba + 1 != disk_sectors)
        problems.push_back(
            fmt::format("the backup GPT is at sector {}, not in the last one ({}): the table was made "
                        "for a smaller disk",
                        look.backup.lba, disk_sectors - 1));
    if (look.primary.copy && look.backup.copy && look.primary.copy->alternate_lba != look.backup.lba)
        problems.push_back(fmt::format("the primary GPT looks for its backup at sector {}; it is at {}",
                                       look.primary.copy->alternate_lba, look.backup.lba));
    if (look.primary.copy && look.backup.copy && !look.primary.copy->agrees_with(*look.backup.copy))
        problems.emplace_back("the primary GPT and its backup differ; the primary is used");
}

void note_partitions(PartitionTable& table, const Copy& copy) {
    for (unsigned number : copy.damaged_names)
        table.problems.push_back(fmt::format("partition {}: its name is not UTF-16 and was mended", number));
    std::map<Guid, unsigned> owners;
    for (const Partition& partition : table.partitions) {
        const auto [owner, fresh] = owners.emplace(partition.guid, partition.number);
        if (!fresh)
            table.problems.push_back(fmt::format("partitions {} and {} have the same GUID {}", owner->second,
                                                 partition.number, partition.guid.text()));
    }
}

// An entry of a hybrid MBR is a second name of a GPT partition; anything else is stale and dangerous.
void note_hybrid(PartitionTable& table) {
    if (!announced_by(table.sector0)) {
        table.problems.emplace_back(
            "the protective MBR is missing: other systems see no partitions here until it is written again");
        return;
    }
    for (std::size_t slot = 0; slot < mbr::kSlots; ++slot) {
        const mbr::Entry entry = mbr::load_entry(table.sector0, slot);
        if (!entry.used() || entry.type == mbr::kTypeProtective) continue;
        const block::Extent extent{std::uint64_t{entry.start} * table.sector_bytes,
                                   (std::uint64_t{entry.start} + entry.sectors) * table.sector_bytes};
        const bool known = std::any_of(table.partitions.begin(), table.partitions.end(),
                                       [&](const Partition& p) { return p.extent == extent; });
        if (!known)
            table.problems.push_back(
                fmt::format("entry {} of the hybrid MBR is none of the GPT's partitions", slot + 1));
    }
}

// How many sectors behind the last usable one belong to nobody; 0 if no more than the backup takes. Only a
// place on the disk is believed: where the backup is, else where the primary says that it was.
std::uint64_t reserved_tail(const PartitionTable& table, const Look& look, std::uint64_t disk_sectors) {
    const std::uint64_t backup_lba = look.backup.copy ? look.backup.lba : look.primary.copy->alternate_lba;
    if (backup_lba <= table.last_usable_lba || backup_lba >= disk_sectors) return 0;
    const std::uint64_t tail = backup_lba - table.last_usable_lba;
    return tail > array_sectors(table) + 1 ? tail : 0;
}

}  // namespace

PartitionTable table_from(const Look& look, Bytes sector0, std::uint64_t disk_bytes) {
    const Copy& copy = look.primary.copy ? *look.primary.copy : look.backup.copy.value();
    PartitionTable table;
    table.kind = TableKind::kGpt;
    table.sector_bytes = look.sector_bytes;
    table.disk_guid = copy.disk_guid;
    table.mbr_signature = mbr::load_signature(sector0);
    table.first_usable_lba = copy.first_usable_lba;
    table.last_usable_lba = copy.last_usable_lba;
    table.entry_count = copy.entry_count;
    table.entry_bytes = copy.entry_bytes;
    table.sector0 = std::move(sector0);
    table.partitions = copy.partitions;
    table.primary_valid = look.primary.copy.has_value();
    table.backup_valid = look.backup.copy.has_value();
    // The backup does not say where the primary's entries were; without that header it is the standard place.
    if (look.primary.header) table.entries_lba = look.primary.header->entries_lba;
    table.reserved_tail_sectors = reserved_tail(table, look, disk_bytes / look.sector_bytes);
    note_copies(table, look, disk_bytes / look.sector_bytes);
    note_partitions(table, copy);
    note_hybrid(table);
    return table;
}

}  // namespace dupengine::layout::gpt
