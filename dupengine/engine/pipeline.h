#pragma once
// The moving of bytes: chunks are read, looked through for zeros, digested and written by a few workers, each
// with one buffer of its own, so memory is bounded by workers x chunk size and one digest a chunk. The first
// error stops all workers and is thrown; a request to stop is thrown as kInterrupted. No deciding here.

#include <cstdint>
#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "block/guard.h"
#include "codec/digest.h"

namespace dupengine::engine {

struct PipelineOptions {
    unsigned workers = 2;
    std::uint64_t chunk_bytes = kMiB;  ///< a power of two; chunks lie on multiples of it
    block::Device::Zeroing zeroing = block::Device::Zeroing::kDeallocate;
};

/// Workers and chunk size for these two devices and this much data. The number of digests stays below about a
/// million.
PipelineOptions choose_pipeline(const block::Geometry& source, const block::Geometry& target,
                                std::uint64_t data_bytes);

/// The digests of the chunks of an extent set, in order: what verify compares with.
struct ChunkDigests {
    std::vector<codec::Xxh128> digests;
};

struct Moved {
    std::uint64_t bytes_read = 0;  ///< from the source; holes are not read
    ChunkDigests chunks;
};

/// Copies `data` from source to target, same offsets. Runs of zeros become zeroing, or nothing where the
/// target has a hole already. Adds data.total_bytes() to progress.
Moved copy_data(const block::Reader& source, block::Target& target, const block::ExtentSet& data,
                const PipelineOptions& options, Progress& progress, std::stop_token stop);

/// Makes `zero` read as zeros, in pieces that can be interrupted.
void zero_ranges(block::Target& target, const block::ExtentSet& zero, const PipelineOptions& options,
                 Progress& progress, std::stop_token stop);

/// Reads `data` back from the medium and compares with what copy_data digested. Throws kIntegrity with the
/// place of the first difference.
void verify_data(const block::Reader& target, const block::ExtentSet& data, const ChunkDigests& expected,
                 const PipelineOptions& options, Progress& progress, std::stop_token stop);

/// Reads `zero` back from the medium; holes that the filesystem reports count as read. Throws kIntegrity.
void verify_zero(const block::Reader& target, const block::ExtentSet& zero, const PipelineOptions& options,
                 Progress& progress, std::stop_token stop);

}  // namespace dupengine::engine
