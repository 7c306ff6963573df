// Which partitions fit into the other sectors, and what becomes of them.

#include "engine/refit/sectors.h"

#include <algorithm>

#include "block/find_data.h"
#include "layout/exfat_sectors.h"
#include "layout/fat_sectors.h"
#include "layout/sector_limit.h"
#include "layout/used_extents.h"

namespace dupengine::engine {
namespace {

using layout::Partition;
using layout::PartitionTable;
using layout::SectorLimit;
using layout::Signature;

// The content where it is already what it has to be, or can be. What nobody understands stays as it is, too:
// its bytes are the same bytes.
FittedContent as_it_is(const std::vector<SectorLimit>& limits, SectorChange change) {
    FittedContent content;
    for (const SectorLimit& limit : limits) {
        if (limit.kind == SectorLimit::Kind::kUnknown)
            content.notes.push_back(fmt::format(
                "{} is copied as it is; whether it can be used in sectors of {} bytes is not known",
                limit.what.empty() ? "what is not recognised" : limit.what, change.to));
        else if (!limit.allows(change.to))
            throw_error(Code::kRefused, "{} cannot be used in sectors of {} bytes{}{}", limit.what, change.to,
                        limit.advice.empty() ? "" : "; ", limit.advice);
    }
    return content;
}

bool is_fat(const std::optional<Signature>& signature) {
    return signature && (signature->type == "vfat" || signature->type == "msdos");
}

// A partition may end within a sector of the target: on a disk of 512 byte sectors the last one often does.
// The rest of that sector goes if it lies behind the end of what the partition holds, and is zero. A FAT may
// reach into it: it is made anew without.
std::uint64_t usable_bytes(const block::Reader& part, const std::optional<Signature>& signature,
                           SectorChange change) {
    const std::uint64_t size = part.geometry().size_bytes, fits = align_down(size, change.to);
    if (fits == size) return size;
    const std::uint64_t content = signature ? layout::find_used_extents(part, signature).filesystem_bytes : 0;
    if (content == 0 || (content > fits && !is_fat(signature)) ||
        block::find_data(part, {std::clamp(content, fits, size), size}))
        throw_error(
            Code::kRefused,
            "it ends within a sector of {} bytes, and its last {} bytes may be in use; shrink it on the "
            "source to a multiple of {}",
            change.to, size - fits, change.to);
    return fits;
}

FittedPartition fit_partition(const block::Reader& source, const Partition& partition, SectorChange change,
                              std::vector<std::string>& notes) {
    const auto part = std::make_shared<block::Window>(
        source, partition.extent, fmt::format("{} partition {}", source.name(), partition.number));
    const ByteOffset begin = partition.extent.begin;
    if (begin % change.to != 0)
        throw_error(Code::kRefused,
                    "it begins at byte {}, within a sector of {} bytes; move it on the source", begin,
                    change.to);
    FittedPartition fitted{partition, partition.extent, nullptr};
    const std::uint64_t size = usable_bytes(*part, layout::probe_signature(*part), change);
    if (size == 0) throw_error(Code::kRefused, "it is smaller than one sector of {} bytes", change.to);
    fitted.partition.extent.end = begin + size;
    if (size != partition.extent.size())
        notes.push_back(fmt::format("partition {}: ends {} bytes earlier, with a whole sector",
                                    partition.number, partition.extent.size() - size));
    FittedContent content = fit_content(part, begin, size, change);
    for (const std::string& note : content.notes)
        notes.push_back(fmt::format("partition {}: {}", partition.number, note));
    fitted.content = std::move(content.reader);
    return fitted;
}

const char* name_of(layout::TableKind kind) {
    return kind == layout::TableKind::kGpt ? "GPT" : "MBR";
}

void note_table(const PartitionTable& table, SectorChange change, std::vector<std::string>& notes) {
    constexpr std::size_t kBootCodeBytes = 440;
    notes.push_back(
        fmt::format("the target has sectors of {} bytes and the source of {}: its {} is made anew", change.to,
                    change.from, name_of(table.kind)));
    if (!is_zero(std::span(table.sector0).first(kBootCodeBytes)))
        notes.push_back(
            fmt::format("the boot code in its sector 0 goes along, but knows only sectors of {} bytes; "
                        "UEFI needs none",
                        change.from));
}

}  // namespace

FittedContent fit_content(std::shared_ptr<const block::Reader> part, ByteOffset begin,
                          std::uint64_t size_bytes, SectorChange change) {
    const auto signature = layout::probe_signature(*part);
    try {
        const auto limits = layout::find_sector_limits(*part, signature);
        const bool allowed = limits.front().allows(change.to);
        if (is_fat(signature) && !allowed) {
            layout::FatForSectors fat = layout::fat_for_sectors(part, begin, size_bytes, change.to);
            return {std::move(fat.reader), {std::move(fat.note)}};
        }
        if (signature && signature->type == "exfat" && !allowed) {
            layout::ExfatForSectors exfat = layout::exfat_for_sectors(part, begin, size_bytes, change.to);
            return {std::move(exfat.reader), {std::move(exfat.note)}};
        }
        return as_it_is(limits, change);
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        throw_error(Code::kRefused, "its {} is not understood, and cannot be made fit: {}", signature->type,
                    e.what());
    }
}

Fitting fit_to_sectors(const block::Reader& source, const PartitionTable& table, SectorChange change) {
    Fitting fitting;
    fitting.sector_bytes = change.to;
    fitting.table = table;
    fitting.table.partitions.clear();
    note_table(table, change, fitting.notes);
    for (const Partition& p : table.partitions) {
        if (table.kind == layout::TableKind::kGpt && p.type_guid == layout::type_guid::kProfile) {
            fitting.notes.push_back(
                fmt::format("the source's own profile (partition {}) is not copied", p.number));
            continue;
        }
        try {
            fitting.partitions.push_back(fit_partition(source, p, change, fitting.notes));
        } catch (Error& e) {
            if (e.code() == Code::kRefused) e.add_context(fmt::format("partition {}", p.number));
            throw;
        }
        fitting.table.partitions.push_back(fitting.partitions.back().partition);
    }
    fitting.table = layout::table_for_sectors(std::move(fitting.table), change.to);
    return fitting;
}

}  // namespace dupengine::engine
