#include "cli/copy_view.h"

#include <algorithm>

#include "base/units.h"

namespace dupengine::cli {
namespace {

using layout::Partition;
using layout::TableKind;

// The MiB that partitioning programs leave at both ends is nothing to look at.
constexpr std::uint64_t kSmallestGapShown = 4 * kMiB;

std::string percent_used(const layout::UsedExtents& used, std::uint64_t size) {
    if (used.whole || size == 0) return {};
    return fmt::format(" {} %", used.used.total_bytes() * 100 / size);
}

Segment segment_of(const Partition& p, const std::optional<layout::Signature>& signature,
                   const layout::UsedExtents* used) {
    Segment segment;
    segment.extent = p.extent;
    segment.label = fmt::format("{} {}", p.number, p.name);
    segment.note = signature ? signature->type : "";
    segment.kind = SegmentKind::kData;
    if (signature && signature->type == "swap") segment.kind = SegmentKind::kSwap;
    if (p.type_guid == layout::type_guid::kEfiSystem) segment.kind = SegmentKind::kSystem;
    if (used != nullptr && !used->whole) {
        segment.note += percent_used(*used, p.extent.size());
        segment.filled = static_cast<double>(used->used.total_bytes()) / static_cast<double>(p.extent.size());
    }
    return segment;
}

bool is_kept(const engine::CopyPlan& plan, block::Extent extent) {
    return std::any_of(plan.kept.begin(), plan.kept.end(),
                       [&](const engine::Kept& k) { return k.extent == extent; });
}

std::vector<Segment> segments_now(const engine::CopyPlan& plan) {
    std::vector<Segment> segments;
    for (const auto& p : plan.target.partitions) {
        segments.push_back(segment_of(p.partition, p.signature, nullptr));
        if (is_kept(plan, p.partition.extent)) {
            segments.back().kind = SegmentKind::kProtected;
            segments.back().note = "stays";
        }
    }
    if (plan.target.table.kind == TableKind::kNone && plan.target.signature)
        segments.push_back(
            {{0, plan.target.geometry.size_bytes}, plan.target.signature->type, "", SegmentKind::kData, {}});
    return segments;
}

std::vector<Segment> segments_after(const engine::CopyPlan& plan) {
    std::vector<Segment> segments;
    for (const Partition& p : plan.table.partitions) {
        const auto* described = plan.source.by_number(p.number);
        if (is_kept(plan, p.extent))
            segments.push_back(
                {p.extent, fmt::format("{} {}", p.number, p.name), "stays", SegmentKind::kProtected, {}});
        else
            segments.push_back(segment_of(p, described != nullptr ? described->signature : std::nullopt,
                                          described != nullptr ? &described->used : nullptr));
    }
    for (const engine::Kept& k : plan.kept)
        if (!k.entry) segments.push_back({k.extent, "protected", "stays", SegmentKind::kProtected, {}});
    if (plan.table.kind == TableKind::kNone)
        segments.push_back({{0, plan.source.geometry.size_bytes},
                            plan.source.signature ? plan.source.signature->type : "raw bytes",
                            "",
                            SegmentKind::kData,
                            {}});
    std::sort(segments.begin(), segments.end(),
              [](const Segment& a, const Segment& b) { return a.extent.begin < b.extent.begin; });
    return segments;
}

std::string headline(const layout::DiskDescription& disk) {
    const auto& table = disk.table;
    const char* kind = table.kind == TableKind::kGpt   ? "GPT"
                       : table.kind == TableKind::kMbr ? "MBR"
                                                       : "no table";
    return fmt::format("{}  {}, {}", disk.name, format_size(disk.geometry.size_bytes), kind);
}

const char* unused_words(engine::Unused unused) {
    switch (unused) {
        case engine::Unused::kDiscard:
            return "made zero, space given back";
        case engine::Unused::kZero:
            return "made zero";
        case engine::Unused::kKeep:
            return "left as it is: old data stays readable";
    }
    return "";
}

std::string partition_rows(const engine::CopyPlan& plan, const DrawingStyle& style) {
    const std::vector<Column> columns = {{"#", true},      {"begin", true},       {"size", true},
                                         {"copied", true}, {"filesystem", false}, {"name", false}};
    std::vector<Row> rows;
    for (const Partition& p : plan.table.partitions) {
        Row row;
        const auto* described = plan.source.by_number(p.number);
        const bool kept = is_kept(plan, p.extent);
        const bool grows = plan.grow && plan.grow->partition == p.number;
        row.cells = {std::to_string(p.number),
                     format_size(p.extent.begin),
                     format_size(p.extent.size()),
                     kept ? "stays" : format_size(plan.data.clipped_to(p.extent).total_bytes()),
                     !kept && described != nullptr && described->signature ? described->signature->type : "",
                     p.name};
        if (!kept && described != nullptr && described->used.whole)
            row.remarks.push_back("copied whole: " + described->used.reason);
        if (grows)
            row.remarks.push_back(fmt::format("grows from {} with its {}",
                                              format_size(plan.grow->before.size()), plan.grow->filesystem));
        if (plan.grow && plan.grow->swap && plan.grow->swap->partition == p.number)
            row.remarks.push_back(
                fmt::format("made anew here; was at {}", format_size(plan.grow->swap->before.begin)));
        rows.push_back(std::move(row));
    }
    return rows.empty() ? "" : draw_table(columns, rows, style);
}

// What the copy before this one, that was cut, has saved.
std::string resumed_line(const engine::CopyReport& report) {
    std::string text = fmt::format("resumed: {} were on the target already", format_size(report.bytes_equal));
    if (report.bytes_resumed != 0)
        text += fmt::format(", {} of them known by the journal and not read from the source again",
                            format_size(report.bytes_resumed));
    return text + "\n";
}

std::string draw_plan(const engine::CopyPlan& plan, const DrawingStyle& style) {
    const block::Extent whole{0, plan.target.geometry.size_bytes};
    const auto bar = [&](std::vector<Segment> segments) {
        return draw_bar(with_free_space(std::move(segments), whole, kSmallestGapShown, "free"), style);
    };
    std::string text = fmt::format("source  {}\n", printable(headline(plan.source), style.charset));
    text += fmt::format("target  {}\n\nthe target now\n", printable(headline(plan.target), style.charset));
    text += bar(segments_now(plan)) + "the target afterwards\n" + bar(segments_after(plan));
    text += partition_rows(plan, style);
    text += fmt::format("\ncopied   {} of {}\n", format_size(plan.bytes_used),
                        format_size(plan.source.geometry.size_bytes));
    text += fmt::format(
        "unused   {}: {}\n",
        plan.options.unused == engine::Unused::kKeep ? "the rest" : format_size(plan.zero.total_bytes()),
        unused_words(plan.options.unused));
    if (plan.journal && plan.journal->continues)
        text += fmt::format("resumed  {} that the journal names: read back there, and not copied again\n",
                            format_size(plan.journal->bytes_named));
    for (const engine::Kept& k : plan.kept)
        text += fmt::format("stays    {}: {} at {}\n", printable(k.name, style.charset),
                            format_size(k.extent.size()), format_size(k.extent.begin));
    for (const std::string& note : plan.notes)
        text += "note     " + printable(note, style.charset) + "\n";
    return text + "\n";
}

std::string draw_report(const engine::CopyReport& report, const engine::CopyPlan& plan,
                        const DrawingStyle& style) {
    const bool verified = plan.options.verify != engine::Verify::kNone;
    std::string text =
        fmt::format("{}: {} is a copy of {}\n",
                    !report.bad_sectors.empty() ? "done, but for bad sectors of the source"
                    : verified                  ? "done and verified"
                                                : "done, not verified",
                    printable(report.target, style.charset), printable(report.source, style.charset));
    text +=
        fmt::format("read {},{} wrote {}, made zero {}, verified {} in {}\n", format_size(report.bytes_read),
                    plan.delta ? " found " + format_size(report.bytes_equal) + " on the target," : "",
                    format_size(report.bytes_written), format_size(report.bytes_zeroed),
                    format_size(report.bytes_verified), format_duration(report.seconds));
    if (plan.target.incomplete) text += resumed_line(report);
    for (std::size_t i = plan.notes.size(); i < report.notes.size(); ++i)  // the others stood in the plan
        text += fmt::format("note: {}\n", printable(report.notes[i], style.charset));
    for (const engine::PartitionPlaces& places : report.bad_sectors)
        text += fmt::format("lost: {} in {}\n", format_size(places.extents.total_bytes()),
                            printable(engine::name_places({places}), style.charset));
    for (const auto& p : report.protected_regions)
        text += fmt::format("untouched: {}, sha256 {}\n", printable(p.name, style.charset), to_hex(p.after));
    return text;
}

}  // namespace

std::string draw_plans(std::span<const engine::CopyPlan> plans, const DrawingStyle& style) {
    if (plans.size() == 1) return draw_plan(plans.front(), style);
    std::string text;
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < plans.size(); ++i) {
        text += fmt::format("disk {} of {}\n", i + 1, plans.size()) + draw_plan(plans[i], style);
        bytes += plans[i].bytes_used;
    }
    return text +
           fmt::format("together {} copied; no target becomes a disk before all of them are verified\n\n",
                       format_size(bytes));
}

std::string draw_capture(const engine::CopyPlan& plan, const DrawingStyle& style) {
    const block::Extent whole{0, plan.source.geometry.size_bytes};
    std::string text = fmt::format("source  {}\n", printable(headline(plan.source), style.charset));
    text += fmt::format("target  {}\n\n", printable(plan.target.name, style.charset));
    text += draw_bar(with_free_space(segments_after(plan), whole, kSmallestGapShown, "free"), style);
    text += partition_rows(plan, style);
    text += fmt::format("\ncaptured {} of {}\n", format_size(plan.bytes_used),
                        format_size(plan.source.geometry.size_bytes));
    for (const std::string& note : plan.notes)
        text += "note     " + printable(note, style.charset) + "\n";
    return text + "\n";
}

std::string draw_reports(std::span<const engine::CopyReport> reports, std::span<const engine::CopyPlan> plans,
                         const DrawingStyle& style) {
    std::string text;
    for (std::size_t i = 0; i < reports.size(); ++i)
        text += draw_report(reports[i], plans[i], style);
    return text;
}

}  // namespace dupengine::cli
