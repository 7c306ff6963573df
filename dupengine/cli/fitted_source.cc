#include "cli/fitted_source.h"

#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/progress_view.h"

namespace dupengine::cli {
namespace {

engine::Shrunk shrink(const block::Reader& source, const block::Reader& target,
                      const engine::CopyOptions& options, const Globals& globals) {
    const InterruptWatch interrupt;
    Progress progress;
    const ProgressView view(progress, globals.progress);
    return engine::shrink_source(source, target, options, progress, interrupt.token());
}

}  // namespace

FittedSource::FittedSource(engine::Rekeyed rekeyed, const block::Reader& source, const block::Reader& target,
                           bool shrink, const engine::CopyOptions& options, const Globals& globals)
    : rekeyed_(std::move(rekeyed)), reader_(&source) {
    const auto take = [&](const block::Reader* view, const std::vector<std::string>& notes) {
        notes_.insert(notes_.end(), notes.begin(), notes.end());
        if (view == nullptr) return;
        reader_ = view;
        is_view_ = true;
    };
    // First, because an open mapping is known by the place of its partition on the source itself.
    take(rekeyed_.view.get(), rekeyed_.notes);
    if (shrink) shrunk_ = cli::shrink(*reader_, target, options, globals);
    take(shrunk_.view.get(), shrunk_.notes);
    refitted_ = engine::refit_source(*reader_, target, options);
    take(refitted_.view.get(), refitted_.notes);
}

std::string FittedSource::draw_before(const DrawingStyle& style) const {
    if (!shrunk_.view) return "";
    const layout::DiskDescription& source = shrunk_.before;
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
    return fmt::format("{} as it is, {}\n", source.name, format_size(size)) +
           draw_bar(with_free_space(std::move(segments), {0, size}, kSmallestGapShown, "free"), style);
}

}  // namespace dupengine::cli
