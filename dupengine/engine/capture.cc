#include "engine/capture.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "block/patchwork.h"
#include "engine/chunk_bytes.h"
#include "engine/pipeline.h"
#include "engine/throttle.h"

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

namespace {

constexpr std::uint64_t kPiece = image::kChunkBytes;

PipelineOptions pipeline_for(const CopyPlan& plan, const block::Reader& view, const ExtentSet& extents) {
    return choose_pipeline(view.geometry(), block::Geometry{}, extents.total_bytes(), plan.options.tuning);
}

void put_all(const CopyPlan& plan, const block::Reader& view, image::ChunkSink& image,
             CaptureContext& context, std::atomic<std::uint64_t>& bytes_read) {
    const ExtentSet extents = captured_extents(plan);
    const PipelineOptions options = pipeline_for(plan, view, extents);
    ChunkWork work;
    work.read = [&](Slot& slot) {
        bytes_read += start_reads(slot, view, block::Reader::From::kAnywhere, options.bridge_bytes);
    };
    work.look = [&](Slot& slot) {
        for_each_piece(slot, kPiece, 0, [&](Extent piece, std::span<const Extent>) {
            image.put(piece.begin / kPiece, slot.bytes_of(piece));
        });
    };
    work.end = [&](Slot& slot) { context.progress.advance(size_of(slot.chunk)); };
    for_each_chunk(extents, options.lanes, context.stop, work);
}

void stop_if_changed(const block::Reader& source, const CaptureContext& context) {
    const std::string change = context.source_change ? context.source_change() : "";
    if (!change.empty())
        throw_error(Code::kIntegrity, "{}: {} while it was captured; there is no image of it", source.name(),
                    change);
}

// All was read of it.
void end_source(const block::Reader& source, const CaptureContext& context) {
    if (context.source_end) context.source_end();
    stop_if_changed(source, context);
}

// Notes which chunks are read.
class NotingReader final : public block::Reader {
  public:
    explicit NotingReader(const block::Reader& disk) : disk_(disk) {}
    const block::Geometry& geometry() const override { return disk_.geometry(); }
    const std::string& name() const override { return disk_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        disk_.read(offset, buffer);
        const std::lock_guard lock(mutex_);
        seen_.insert({align_down(offset, kPiece), align_up(offset + buffer.size(), kPiece)});
    }
    Extent next_data(Extent within) const override { return disk_.next_data(within); }
    ExtentSet take() { return std::move(seen_); }

  private:
    const block::Reader& disk_;
    mutable std::mutex mutex_;
    mutable ExtentSet seen_;
};

// `whole` as put_all put it, and no more of the disk than that read: where nothing is captured, sectors may
// be unreadable.
std::uint64_t read_again(const block::Reader& view, const ExtentSet& extents, std::uint64_t bridge_bytes,
                         Extent whole, std::span<std::byte> bytes) {
    const ExtentSet wanted = extents.clipped_to(whole);
    const ExtentSet read = wanted.bridged(bridge_bytes);
    for (const Extent e : read)
        view.read(e.begin, bytes.subspan(e.begin - whole.begin, e.size()));
    for (const Extent gap : wanted.gaps_in(whole))
        std::ranges::fill(bytes.subspan(gap.begin - whole.begin, gap.size()), std::byte{0});
    return read.total_bytes();
}

CaptureReport begin_report(const CopyPlan& plan) {
    CaptureReport report;
    report.source = plan.source.name;
    report.bytes_used = plan.bytes_used;
    report.notes = plan.notes;
    return report;
}

}  // namespace

CaptureReport capture(const CopyPlan& plan, const block::Reader& source, image::ChunkSink& image,
                      CaptureContext& context) {
    std::atomic<std::uint64_t> bytes_read{0};
    context.progress.begin("capture", captured_extents(plan).total_bytes());
    try {
        put_all(plan, with_boot_structures(plan, source), image, context, bytes_read);
    } catch (const Error& e) {
        if (e.code() != Code::kInterrupted) throw;
        throw_error(
            Code::kInterrupted,
            "stopped on request; no image was added, and the next capture uses what is stored already");
    }
    end_source(source, context);
    CaptureReport report = begin_report(plan);
    report.bytes_read = bytes_read;
    return report;
}

ExtentSet described_extents(const CopyPlan& plan, const block::Reader& source) {
    const block::Patchwork view = with_boot_structures(plan, source);
    NotingReader noting(view);
    try {
        layout::describe_disk(noting, layout::Depth::kSalvage);
    } catch (const Error&) {
        // It only helps; whoever plans a copy will tell.
    }
    return noting.take();
}

CaptureReport capture_tar(const CopyPlan& plan, const block::Reader& source, image::TarImageWriter& image,
                          const image::ImageWriter::Sign& sign, image::TarOutput& output,
                          CaptureContext& context) {
    const ExtentSet extents = captured_extents(plan);
    const block::Patchwork view = with_boot_structures(plan, source);
    std::atomic<std::uint64_t> bytes_read{0};
    const auto stop_if_asked = [&] {
        if (context.stop.stop_requested())
            throw_error(Code::kInterrupted, "stopped on request; there is no image");
    };
    context.progress.begin("digest", extents.total_bytes());
    try {
        put_all(plan, view, image, context, bytes_read);
    } catch (const Error& e) {
        if (e.code() == Code::kInterrupted) stop_if_asked();
        throw;
    }
    stop_if_changed(source, context);
    context.progress.begin("capture", image.data_bytes());
    Throttle throttle(plan.options.tuning.bytes_per_second);
    const std::uint64_t bridge_bytes = pipeline_for(plan, view, extents).bridge_bytes;
    image.write(
        [&](std::uint64_t chunk, std::span<std::byte> bytes) {
            throttle.pass(bytes.size(), [&] { return context.stop.stop_requested(); });
            stop_if_asked();
            bytes_read += read_again(view, extents, bridge_bytes,
                                     {chunk * kPiece, chunk * kPiece + bytes.size()}, bytes);
            context.progress.advance(bytes.size());
        },
        sign, output, [&] { end_source(source, context); });
    CaptureReport report = begin_report(plan);
    report.bytes_read = bytes_read;
    report.bytes_data = image.data_bytes();
    report.bytes_shared = image.shared_bytes();
    report.bytes_stored = image.stored_bytes();
    return report;
}

}  // namespace dupengine::engine
