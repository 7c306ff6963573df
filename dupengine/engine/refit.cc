#include "engine/refit.h"

#include <algorithm>

#include "block/find_data.h"
#include "block/patchwork.h"
#include "engine/refit/sectors.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using layout::PartitionTable;
using layout::TableKind;

// Empty: no copy of its table can be used, and make_plan says what is to be said about that.
std::optional<PartitionTable> table_of(const block::Reader& disk) {
    try {
        return layout::read_partition_table(disk);
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        return {};
    }
}

// A file has the sectors of the disk that it is an image of; without a table it has no opinion.
std::uint32_t sectors_of(const block::Reader& disk, const PartitionTable& table) {
    if (disk.geometry().is_block_device) return disk.geometry().logical_sector_bytes;
    return table.kind != TableKind::kNone ? table.sector_bytes : 0;
}

std::uint32_t sectors_of_target(const block::Reader& target) {
    try {
        const auto table = table_of(target);
        const std::uint32_t sectors = sectors_of(target, table.value_or(PartitionTable{}));
        if (sectors != 0) return sectors;
        // The table that said it may be gone; an unfinished copy goes on as it began.
        const auto mark = layout::find_mark(target);
        return mark ? mark->sector_bytes : 0;
    } catch (Error& e) {
        if (e.code() == Code::kSourceIo) e.set_code(Code::kTargetIo);
        throw;
    }
}

void refuse_unknown_sectors(const block::Reader& source, const block::Reader& target, SectorChange change) {
    for (const std::uint32_t sector : {change.from, change.to})
        if (sector != 512 && sector != 1024 && sector != 2048 && sector != 4096)
            throw_error(
                Code::kRefused,
                "{} has sectors of {} bytes and {} has {}: only 512 to 4096 can be made from each other",
                source.name(), change.from, target.name(), change.to);
}

constexpr std::uint64_t kBootSectorBytes = 512;  // of sector 0, whatever its size: boot code and MBR

// What the source's table occupies in front of the first partition, to the byte.
block::ExtentSet places_of_table(const PartitionTable& table) {
    block::ExtentSet places{Extent{0, kBootSectorBytes}};
    if (table.kind != TableKind::kGpt) return places;
    const std::uint64_t sector = table.sector_bytes;
    places.insert({sector, 2 * sector});
    const ByteOffset entries = table.entries_lba * sector;
    places.insert(
        {entries, entries + align_up(std::uint64_t{table.entry_count} * table.entry_bytes, sector)});
    return places;
}

// Boot loaders live between the table and the first partition. Their bytes go along; the table's do not.
void lay_boot_gap(block::Patchwork& view, const block::Reader& source, const PartitionTable& old,
                  const Fitting& fitting) {
    constexpr std::uint64_t kBootGap = 16 * kMiB;  // as a plan counts it
    ByteOffset end = std::min({source.geometry().size_bytes, view.geometry().size_bytes, kBootGap});
    for (const layout::Partition& p : old.partitions)
        end = std::min(end, p.extent.begin);
    for (const FittedPartition& p : fitting.partitions)
        end = std::min(end, p.partition.extent.begin);
    if (old.mbr_extended) end = std::min(end, old.mbr_extended->begin);
    view.lay({0, end}, source, 0);
    for (const Extent place : places_of_table(old))
        view.lift(place.clipped_to({0, end}));
}

void lay_partitions(block::Patchwork& view, const block::Reader& source, const Fitting& fitting) {
    for (const FittedPartition& p : fitting.partitions) {
        const Extent place = p.partition.extent;
        if (p.content)
            view.lay(place, *p.content, 0);
        else
            view.lay(place, source, p.from.begin);
    }
}

// Every byte that the new table covers and that was not the old one's would be lost.
void refuse_covering_data(const block::Patchwork& view, const layout::TableImage& image) {
    for (const auto& piece : image.primary) {
        const Extent place{piece.offset,
                           piece.offset + (piece.offset == 0 ? kBootSectorBytes : piece.content.size())};
        if (const auto data = block::find_data(view, place))
            throw_error(
                Code::kRefused,
                "{}: in front of its first partition it holds data at byte {} (a boot loader?), where "
                "the table for sectors of {} bytes must lie",
                view.name(), *data, view.geometry().logical_sector_bytes);
    }
}

void lay_table(block::Patchwork& view, PartitionTable table) {
    // What follows the boot sector in a larger sector 0 is no part of the table.
    const Extent rest{kBootSectorBytes, table.sector_bytes};
    const Bytes content = block::read_extent(view, rest);
    std::copy(content.begin(), content.end(), table.sector0.begin() + kBootSectorBytes);
    const layout::TableImage image = layout::encode_table(table, view.geometry().size_bytes);
    refuse_covering_data(view, image);
    for (const auto* pieces : {&image.primary, &image.backup})
        for (const auto& piece : *pieces)
            view.lay(piece.offset, piece.content);
}

// A disk on which the table has room. Whether the target is that large is make_plan's to say.
std::uint64_t size_of_view(const Fitting& fitting, const block::Reader& target) {
    const std::uint64_t sector = fitting.sector_bytes;
    const PartitionTable& table = fitting.table;
    const std::uint64_t array = align_up(std::uint64_t{table.entry_count} * table.entry_bytes, sector);
    const std::uint64_t behind =
        table.kind == TableKind::kGpt ? std::max(array + sector, table.reserved_tail_sectors * sector) : 0;
    ByteOffset end = align_down(target.geometry().size_bytes, sector);
    for (const FittedPartition& p : fitting.partitions)
        end = std::max(end, p.partition.extent.end + behind);
    if (table.mbr_extended) end = std::max(end, table.mbr_extended->end);
    return end;
}

block::Geometry geometry_of_view(const block::Reader& source, std::uint64_t size_bytes,
                                 std::uint32_t sector_bytes) {
    block::Geometry geometry = source.geometry();
    geometry.size_bytes = size_bytes;
    geometry.logical_sector_bytes = sector_bytes;
    geometry.physical_sector_bytes = std::max(geometry.physical_sector_bytes, sector_bytes);
    return geometry;
}

Refitted view_of(const block::Reader& source, const block::Reader& target, const PartitionTable& old,
                 Fitting fitting) {
    Refitted refitted;
    refitted.notes = std::move(fitting.notes);
    auto view = std::make_unique<block::Patchwork>(
        source.name(), geometry_of_view(source, size_of_view(fitting, target), fitting.sector_bytes));
    lay_boot_gap(*view, source, old, fitting);
    lay_partitions(*view, source, fitting);
    lay_table(*view, fitting.table);
    for (FittedPartition& p : fitting.partitions)
        if (p.content) refitted.parts.push_back(std::move(p.content));
    refitted.view = std::move(view);
    return refitted;
}

// One filesystem on the whole disk.
Refitted view_of_bare(const block::Reader& source, SectorChange change) {
    const std::uint64_t size = source.geometry().size_bytes;
    const auto whole = std::make_shared<block::Window>(source, Extent{0, size}, source.name());
    FittedContent content = fit_content(whole, 0, size, change);
    Refitted refitted;
    refitted.notes = std::move(content.notes);
    if (!content.reader && !source.geometry().is_block_device) return refitted;
    auto view = std::make_unique<block::Patchwork>(source.name(), geometry_of_view(source, size, change.to));
    if (content.reader)
        view->lay({0, size}, *content.reader, 0);
    else
        view->lay({0, size}, source, 0);
    refitted.parts.push_back(std::move(content.reader));
    refitted.view = std::move(view);
    return refitted;
}

}  // namespace

Refitted refit_source(const block::Reader& source, const block::Reader& target, const CopyOptions&) {
    const auto table = table_of(source);
    if (!table) return {};
    const std::uint32_t to = sectors_of_target(target), from = sectors_of(source, *table);
    const bool bare = table->kind == TableKind::kNone;
    // The image of one filesystem has no sectors of its own, but the filesystem has.
    const bool bare_image = bare && from == 0 && target.geometry().is_block_device;
    if (to == 0 || from == to || (from == 0 && !bare_image)) return {};
    if (bare && layout::find_mark(source)) return {};  // an unfinished copy: make_plan refuses it
    const SectorChange change{from != 0 ? from : source.geometry().logical_sector_bytes, to};
    refuse_unknown_sectors(source, target, change);
    try {
        if (bare) return view_of_bare(source, change);
        return view_of(source, target, *table, fit_to_sectors(source, *table, change));
    } catch (Error& e) {
        if (e.code() == Code::kRefused)
            e.add_context(fmt::format("{} has sectors of {} bytes and {} has {}", source.name(), change.from,
                                      target.name(), change.to));
        throw;
    }
}

}  // namespace dupengine::engine
