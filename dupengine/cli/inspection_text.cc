#include <algorithm>
#include <ctime>
#include <utility>

#include "base/units.h"
#include "cli/inspection.h"

namespace dupengine::cli {
namespace {

using layout::PartitionDescription;
using layout::TableKind;
using layout::UsedExtents;

std::string headline(const layout::DiskDescription& disk) {
    const layout::PartitionTable& table = disk.table;
    std::string text = fmt::format("{}: {}, sectors of {} bytes, ", disk.name,
                                   format_size(disk.geometry.size_bytes), disk.geometry.logical_sector_bytes);
    if (!disk.damaged_table.empty()) return text + "damaged partition table";
    switch (table.kind) {
        case TableKind::kNone:
            return text + "no partition table";
        case TableKind::kGpt:
            return text + "GPT " + table.disk_guid.text();
        case TableKind::kMbr:
            return text + fmt::format("MBR {:08x}", table.mbr_signature);
    }
    return text;
}

double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// "41 %"; neither "nothing" nor "all" is said of what is not.
std::string percent(double part) {
    if (part > 0 && part < 0.01) return "<1 %";
    return fmt::format("{} %", static_cast<int>(100 * std::min(part, 1.0)));
}

std::string size_of_used(const UsedExtents& used) {
    return used.whole ? "whole" : format_size(used.used.total_bytes());
}

std::string share_of_used(const UsedExtents& used, std::uint64_t size) {
    return used.whole ? "" : percent(share(used.used.total_bytes(), size));
}

// Why all of it would be copied, and what else there is to know of it.
void add_remarks(Row& row, const UsedExtents& used) {
    if (used.whole && !used.reason.empty()) row.remarks.push_back("copied whole: " + used.reason);
    if (!used.note.empty()) row.remarks.push_back("note: " + used.note);
}

SegmentKind kind_of(const std::optional<layout::Signature>& signature, const layout::Partition& partition) {
    if (partition.type_guid == layout::type_guid::kEfiSystem || partition.mbr_type == 0xef ||
        partition.type_guid == layout::type_guid::kBiosBoot ||
        partition.type_guid == layout::type_guid::kXbootldr)
        return SegmentKind::kSystem;
    if (!signature) return SegmentKind::kOther;
    if (signature->type == "swap") return SegmentKind::kSwap;
    return signature->usage == "filesystem" ? SegmentKind::kData : SegmentKind::kOther;
}

Segment segment_of(const Inspection& inspection, const PartitionDescription& described) {
    const layout::Partition& partition = described.partition;
    const std::string type = described.signature ? described.signature->type : "";
    const std::string label = described.signature ? described.signature->label : "";
    Segment segment;
    segment.extent = partition.extent;
    segment.label = fmt::format("{} {}", partition.number, !label.empty() ? label : partition.name);
    segment.kind = kind_of(described.signature, partition);
    segment.note = type;
    if (!protection_of(inspection, partition).empty()) {
        segment.kind = SegmentKind::kProtected;
        segment.note = protection_of(inspection, partition);
    } else if (!described.used.whole) {
        segment.filled = share(described.used.used.total_bytes(), partition.extent.size());
        segment.note += " " + percent(*segment.filled);
    }
    return segment;
}

std::string bar(const Inspection& inspection, const DrawingStyle& style) {
    const layout::DiskDescription& disk = inspection.disk;
    const block::Extent whole = {0, disk.geometry.size_bytes};
    if (disk.table.kind == TableKind::kNone) {
        if (!disk.damaged_table.empty() || !disk.signature) return {};
        PartitionDescription all;
        all.partition.extent = whole;
        all.signature = disk.signature;
        all.used = disk.used;
        Segment segment = segment_of(inspection, all);
        segment.label = disk.signature->label.empty() ? disk.signature->type : disk.signature->label;
        return draw_bar({segment}, style);
    }
    std::vector<Segment> segments;
    for (const PartitionDescription& described : disk.partitions)
        segments.push_back(segment_of(inspection, described));
    // Gaps of alignment and the table's own sectors are no room for anything.
    const std::uint64_t least = std::max<std::uint64_t>(2 * kMiB, disk.geometry.size_bytes / 1000);
    return draw_bar(with_free_space(std::move(segments), whole, least, "free"), style);
}

enum TableColumn : std::size_t {
    kNumber,
    kSize,
    kUsed,
    kShare,
    kFilesystem,
    kLabel,
    kUuid,
    kPartLabel,
    kType
};

Row row_of(const Inspection& inspection, const PartitionDescription& described) {
    const layout::Partition& partition = described.partition;
    const layout::Signature signature = described.signature.value_or(layout::Signature{});
    const std::string protection = protection_of(inspection, partition);
    const std::uint64_t size = partition.extent.size();
    Row row;
    row.cells = {std::to_string(partition.number),
                 format_size(size),
                 size_of_used(described.used),
                 share_of_used(described.used, size),
                 signature.type,
                 signature.label,
                 signature.uuid,
                 partition.name,
                 type_in_words(inspection.disk.table.kind, partition)};
    for (const layout::Use& use : inspection.uses)
        if (is_use_of(use, partition))
            row.remarks.push_back(fmt::format("in use: {}: {}", use.device, use.detail));
    if (protection.empty()) {
        add_remarks(row, described.used);
    } else {
        row.cells[kUsed] = "kept";
        row.cells[kShare].clear();
        row.remarks.push_back(fmt::format("protected ({}): no copy writes here", protection));
    }
    return row;
}

std::vector<Row> rows_of(const Inspection& inspection) {
    const layout::DiskDescription& disk = inspection.disk;
    std::vector<Row> rows;
    for (const PartitionDescription& described : disk.partitions)
        rows.push_back(row_of(inspection, described));
    if (disk.table.kind == TableKind::kNone && disk.signature) {
        const std::uint64_t size = disk.geometry.size_bytes;
        Row row;
        row.cells = {"",
                     format_size(size),
                     size_of_used(disk.used),
                     share_of_used(disk.used, size),
                     disk.signature->type,
                     disk.signature->label,
                     disk.signature->uuid};
        add_remarks(row, disk.used);
        rows.push_back(row);
    }
    return rows;
}

std::string table(const Inspection& inspection, const DrawingStyle& style) {
    static const std::vector<Column> kColumns = {{"#", true}, {"size", true}, {"used", true},
                                                 {"", true},  {"filesystem"}, {"label"},
                                                 {"UUID"},    {"PARTLABEL"},  {"type"}};
    std::vector<Row> rows = rows_of(inspection);
    if (rows.empty()) return {};
    if (table_columns(kColumns, rows, style) > style.columns) {
        // Half a UUID is of no use to anyone: it gets a line of its own.
        for (Row& row : rows) {
            const std::string uuid = std::exchange(row.cells[kUuid], "");
            if (!uuid.empty()) row.remarks.insert(row.remarks.begin(), "UUID " + uuid);
        }
    }
    return draw_table(kColumns, rows, style);
}

std::string date_text(std::int64_t seconds) {
    const auto time = static_cast<std::time_t>(seconds);
    std::tm parts{};
    char text[32];
    if (::gmtime_r(&time, &parts) == nullptr ||
        std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts) == 0)
        return "an unknown date";
    return text;
}

// One line for each thing that concerns the disk and not one partition.
std::vector<std::string> remarks(const Inspection& inspection) {
    const layout::DiskDescription& disk = inspection.disk;
    std::vector<std::string> lines;
    if (disk.incomplete) {
        lines.push_back(fmt::format("incomplete: a copy of {} began on {} and has not ended; run it again",
                                    disk.incomplete->source, date_text(disk.incomplete->started)));
        for (const auto& kept : disk.incomplete->kept)
            lines.push_back(fmt::format("protected: {}, {} at byte {}", kept.name,
                                        format_size(kept.extent.size()), kept.extent.begin));
    }
    for (const layout::Use& use : inspection.uses) {
        const bool told =
            std::any_of(disk.partitions.begin(), disk.partitions.end(),
                        [&](const auto& described) { return is_use_of(use, described.partition); });
        if (!told) lines.push_back(fmt::format("in use: {}: {}", use.device, use.detail));
    }
    for (const std::string& problem : disk.table.problems)
        lines.push_back("problem: " + problem);
    return lines;
}

}  // namespace

std::string inspection_text(const Inspection& inspection, const DrawingStyle& style) {
    std::string text = printable(headline(inspection.disk), style.charset) + "\n";
    text += bar(inspection, style) + table(inspection, style);
    for (const std::string& line : remarks(inspection))
        text += printable(line, style.charset) + "\n";
    return text;
}

}  // namespace dupengine::cli
