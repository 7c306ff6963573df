#include "cli/shrinking.h"

#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/progress_view.h"

namespace dupengine::cli {

engine::Shrunk shrink_if_asked(bool asked, const block::Reader& source, const block::Reader& target,
                               const engine::CopyOptions& options, const Globals& globals) {
    if (!asked) return {};
    const InterruptWatch interrupt;
    Progress progress;
    const ProgressView view(progress, globals.progress);
    return engine::shrink_source(source, target, options, progress, interrupt.token());
}

std::string draw_before(const layout::DiskDescription& source, const DrawingStyle& style) {
    std::vector<Segment> segments;
    for (const auto& described : source.partitions) {
        Segment segment;
        segment.extent = described.partition.extent;
        segment.label = fmt::format("{} {}", described.partition.number, described.partition.name);
        segment.note = described.signature ? described.signature->type : "";
        segment.kind = SegmentKind::kData;
        segments.push_back(std::move(segment));
    }
    const std::uint64_t size = source.geometry.size_bytes;
    if (source.table.kind == layout::TableKind::kNone)
        segments.push_back(
            {{0, size}, source.signature ? source.signature->type : "raw bytes", "", SegmentKind::kData, {}});
    constexpr std::uint64_t kSmallestGapShown = 4 * kMiB;
    return fmt::format("the source as it is, {}\n", format_size(size)) +
           draw_bar(with_free_space(std::move(segments), {0, size}, kSmallestGapShown, "free"), style);
}

}  // namespace dupengine::cli
