#pragma once
// Takes a disk into an image: the same look at the source as for a copy (plan.h), with a disk that does not
// exist yet as its target, and the same moving of chunks. What the source does not use, and its profile, are
// not in the image.

#include <stop_token>

#include "base/progress.h"
#include "engine/plan.h"
#include "image/store_index.h"
#include "image/tar_image_writer.h"

namespace dupengine::engine {

struct CaptureReport {
    std::string source, store;
    image::StoredImage image;
    bool is_signed = false;
    std::uint64_t bytes_used = 0;    ///< what of the source was to be captured
    std::uint64_t bytes_read = 0;    ///< from the source
    std::uint64_t bytes_data = 0;    ///< in chunks that are not all zero
    std::uint64_t bytes_shared = 0;  ///< of these, in the store already
    std::uint64_t bytes_stored = 0;  ///< new in the store: compressed, flushed, read back
    double seconds = 0;              ///< until all of it was durable: for whoever finishes it
    std::vector<std::string> notes;
};

struct CaptureContext {
    Progress& progress;
    std::stop_token stop;
    /// How the source changed since it was planned; empty if it did not.
    std::function<std::string()> source_change = {};
    /// When all was read of it, and before there is an image: throws if it turns out not to be whole.
    std::function<void()> source_end = {};
};

/// Throws as make_plan.
CopyPlan make_capture_plan(const block::Reader& source, const std::string& target, CopyOptions options);

/// The part of the manifest that follows from the plan.
image::Manifest draft_manifest(const CopyPlan& plan);

/// What of the source goes into the image.
block::ExtentSet captured_extents(const CopyPlan& plan);

/// Puts all of it into the image, which is not finished yet. Throws kSourceIo, kTargetIo, kInterrupted;
/// kIntegrity if the source changed.
CaptureReport capture(const CopyPlan& plan, const block::Reader& source, image::ChunkSink& image,
                      CaptureContext& context);

/// What of it is read to describe the disk: so much stands in front of a tar, for whoever reads it from a
/// pipe and has to describe the disk first.
block::ExtentSet described_extents(const CopyPlan& plan, const block::Reader& source);

/// Captures into a tar, which is complete then. Reads the source twice. Throws as capture.
CaptureReport capture_tar(const CopyPlan& plan, const block::Reader& source, image::TarImageWriter& image,
                          const image::ImageWriter::Sign& sign, image::TarOutput& output,
                          CaptureContext& context);

}  // namespace dupengine::engine
