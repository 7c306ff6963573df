#include "engine/capture.h"

#include <algorithm>
#include <atomic>

#include "block/patchwork.h"
#include "engine/chunk_bytes.h"
#include "engine/pipeline.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;

// The source as its copy would be: with the table that the plan made.
block::Patchwork with_boot_structures(const CopyPlan& plan, const block::Reader& source) {
    block::Patchwork view(source.name(), source.geometry());
    view.lay({0, source.geometry().size_bytes}, source, 0);
    for (const BootStage& stage : plan.boot)
        for (const auto& piece : stage.pieces)
            view.lay(piece.offset, piece.content);
    return view;
}

}  // namespace

CopyPlan make_capture_plan(const block::Reader& source, const std::string& target, CopyOptions options) {
    options.delta = Delta::kNever;
    options.source_state.reset();
    const block::Patchwork empty(target, source.geometry());
    return make_plan(source, empty, options);
}

image::Manifest draft_manifest(const CopyPlan& plan) {
    image::Manifest manifest;
    manifest.source = plan.source.name;
    manifest.size_bytes = plan.source.geometry.size_bytes;
    manifest.sector_bytes = plan.sector_bytes;
    manifest.table = layout::table_kind_name(plan.table.kind);
    for (const auto& p : plan.source.partitions)
        if (plan.table.by_number(p.partition.number) != nullptr)
            manifest.partitions.push_back({p.partition.number, p.partition.extent, p.partition.name,
                                           p.signature ? p.signature->type : "", p.used.used.total_bytes()});
    return manifest;
}

ExtentSet captured_extents(const CopyPlan& plan) {
    ExtentSet extents = plan.data;
    for (const BootStage& stage : plan.boot)
        for (const auto& piece : stage.pieces)
            extents.insert(Extent{piece.offset, piece.offset + piece.content.size()});
    return extents;
}

CaptureReport capture(const CopyPlan& plan, const block::Reader& source, image::ImageWriter& writer,
                      CaptureContext& context) {
    const auto start = std::chrono::steady_clock::now();
    const ExtentSet extents = captured_extents(plan);
    const block::Patchwork view = with_boot_structures(plan, source);
    const PipelineOptions options =
        choose_pipeline(source.geometry(), block::Geometry{}, extents.total_bytes(), plan.options.tuning);
    std::atomic<std::uint64_t> bytes_read{0};
    ChunkWork work;
    work.read = [&](Slot& slot) {
        bytes_read += start_reads(slot, view, block::Reader::From::kAnywhere, options.bridge_bytes);
    };
    const std::uint64_t piece_bytes = writer.manifest().chunk_bytes;
    work.look = [&](Slot& slot) {
        for_each_piece(slot, piece_bytes, 0, [&](Extent piece, std::span<const Extent>) {
            writer.put(piece.begin / piece_bytes, slot.bytes_of(piece));
        });
    };
    work.end = [&](Slot& slot) { context.progress.advance(size_of(slot.chunk)); };
    context.progress.begin("capture", extents.total_bytes());
    try {
        for_each_chunk(extents, options.lanes, context.stop, work);
    } catch (const Error& e) {
        if (e.code() != Code::kInterrupted) throw;
        throw_error(
            Code::kInterrupted,
            "stopped on request; no image was added, and the next capture uses what is stored already");
    }
    if (const std::string change = context.source_change ? context.source_change() : ""; !change.empty())
        throw_error(Code::kIntegrity, "{}: {} while it was captured; the image is not added to the store",
                    source.name(), change);
    CaptureReport report;
    report.source = plan.source.name;
    report.bytes_used = plan.bytes_used;
    report.bytes_read = bytes_read;
    report.notes = plan.notes;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
}

}  // namespace dupengine::engine
