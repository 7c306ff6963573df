#include "layout/partition_table.h"

#include <algorithm>

#include "layout/gpt.h"
#include "layout/mbr.h"
#include "layout/partition_checks.h"

namespace dupengine::layout {
namespace {

template <typename Predicate>
const Partition* first_where(const std::vector<Partition>& partitions, Predicate wanted) {
    const auto at = std::find_if(partitions.begin(), partitions.end(), wanted);
    return at == partitions.end() ? nullptr : &*at;
}

// A device knows its sectors; the image of a 4096-byte sector disk in a file does not.
std::vector<gpt::Look> look_for_gpt(const block::Reader& disk, std::span<const std::byte> sector0) {
    constexpr std::uint32_t kLargeSector = 4096;
    const block::Geometry& geometry = disk.geometry();
    std::vector<gpt::Look> looks = {gpt::look_for_copies(disk, geometry.logical_sector_bytes, sector0)};
    if (!geometry.is_block_device && geometry.logical_sector_bytes < kLargeSector)
        looks.push_back(gpt::look_for_copies(disk, kLargeSector, sector0));
    return looks;
}

PartitionTable gpt_table(const block::Reader& disk, const gpt::Look& look, Bytes sector0) {
    if (look.sector_bytes != sector0.size()) sector0 = block::read_extent(disk, {0, look.sector_bytes});
    return gpt::table_from(look, std::move(sector0), disk.geometry().size_bytes);
}

[[noreturn]] void throw_damaged(const std::vector<gpt::Look>& looks) {
    const auto seen =
        std::find_if(looks.begin(), looks.end(), [](const gpt::Look& look) { return look.seen(); });
    const gpt::Look& look = seen != looks.end() ? *seen : looks.front();
    throw_error(look.primary.io_error && look.backup.io_error ? Code::kSourceIo : Code::kIntegrity,
                "no copy of its GPT can be used: primary: {}; backup: {}", look.primary.reason,
                look.backup.reason);
}

PartitionTable read_table(const block::Reader& disk) {
    const block::Geometry& geometry = disk.geometry();
    PartitionTable none;
    none.sector_bytes = geometry.logical_sector_bytes;
    if (geometry.size_bytes < geometry.logical_sector_bytes) return none;
    none.sector0 = block::read_extent(disk, {0, geometry.logical_sector_bytes});
    const bool announced = gpt::announced_by(none.sector0);
    const std::vector<gpt::Look> looks = look_for_gpt(disk, none.sector0);
    const auto primary = std::find_if(looks.begin(), looks.end(),
                                      [](const gpt::Look& look) { return look.primary.copy.has_value(); });
    if (announced) {
        if (primary != looks.end()) return gpt_table(disk, *primary, none.sector0);
        for (const gpt::Look& look : looks)
            if (look.backup.copy) return gpt_table(disk, look, none.sector0);
        throw_damaged(looks);
    }
    if (auto table = mbr::read(disk, geometry.logical_sector_bytes, none.sector0)) {
        if (primary != looks.end())
            table->problems.emplace_back(
                "behind the MBR is an old GPT that it does not announce; the MBR counts");
        return *table;
    }
    // A lost first sector must not make us forget what is to be protected. A backup alone proves nothing: it
    // survives many ways of giving a disk another use.
    return primary != looks.end() ? gpt_table(disk, *primary, none.sector0) : none;
}

}  // namespace

std::vector<Partition> find_profiles_in_any_gpt(const block::Reader& disk) {
    const std::uint32_t sector = disk.geometry().logical_sector_bytes;
    if (disk.geometry().size_bytes < sector) return {};
    std::vector<Partition> profiles;
    for (const gpt::Look& look : look_for_gpt(disk, block::read_extent(disk, {0, sector})))
        for (const gpt::Finding* finding : {&look.primary, &look.backup}) {
            if (!finding->copy) continue;
            for (const Partition& p : finding->copy->partitions)
                if (p.type_guid == type_guid::kProfile) profiles.push_back(p);
        }
    return profiles;
}

const char* table_kind_name(TableKind kind) {
    switch (kind) {
        case TableKind::kNone:
            return "none";
        case TableKind::kGpt:
            return "gpt";
        case TableKind::kMbr:
            return "mbr";
    }
    return "none";
}

const Partition* PartitionTable::by_number(unsigned number) const {
    return first_where(partitions, [&](const Partition& p) { return p.number == number; });
}

const Partition* PartitionTable::by_guid(const Guid& guid) const {
    return first_where(partitions, [&](const Partition& p) { return p.guid == guid; });
}

const Partition* PartitionTable::by_type(const Guid& type_guid) const {
    return first_where(partitions, [&](const Partition& p) { return p.type_guid == type_guid; });
}

PartitionTable read_partition_table(const block::Reader& disk) {
    try {
        return read_table(disk);
    } catch (Error& e) {
        if (e.code() == Code::kIntegrity) e.add_context(disk.name());
        throw;
    }
}

TableImage encode_table(const PartitionTable& table, std::uint64_t disk_bytes) {
    if (table.kind == TableKind::kNone) return {};
    require_encodable(table);
    return table.kind == TableKind::kGpt ? gpt::encode(table, disk_bytes) : mbr::encode(table, disk_bytes);
}

block::ExtentSet table_extents(const PartitionTable& table, std::uint64_t disk_bytes) {
    const block::Extent disk{0, disk_bytes};
    block::ExtentSet extents;
    if (table.kind == TableKind::kGpt) {
        const gpt::Places places = gpt::places_on(table, disk_bytes);
        extents.insert({0, places.first_usable_lba * table.sector_bytes});
        extents.insert({(places.last_usable_lba + 1) * table.sector_bytes, disk_bytes});
    } else if (table.kind == TableKind::kMbr) {
        extents.insert(block::Extent{0, table.sector_bytes}.clipped_to(disk));
        for (const BootRecord& record : mbr::boot_records(table))
            extents.insert(block::Extent{record.offset, record.offset + table.sector_bytes}.clipped_to(disk));
    }
    return extents;
}

}  // namespace dupengine::layout
