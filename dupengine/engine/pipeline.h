#pragma once
// The moving of bytes. Chunks are read, looked through for zeros, digested and written, several of them under
// way at once in each of a few workers (chunks.h), so memory is bounded by these numbers and one digest a
// chunk. The first error stops all workers and is thrown; a request to stop is thrown as kInterrupted. No
// deciding here.

#include <cstdint>
#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "block/guard.h"
#include "codec/digest.h"
#include "engine/chunks.h"
#include "engine/plan.h"
#include "engine/salvage.h"

namespace dupengine::engine {

struct PipelineOptions {
    Lanes lanes;
    /// Read what the target holds as well, and write only what differs.
    bool differences_only = false;
    /// Go on past sectors of the source that cannot be read: they become zeros.
    bool tolerate_bad_sectors = false;
    /// What lies between two extents is read along with them if it is at most this long.
    std::uint64_t bridge_bytes = 16 * kKiB;
    /// Digests are made for verify_data.
    bool read_back = true;
    /// Of what was made zero only samples are read back: 64 KiB in 16 MiB, at least 64 and at most 2048 of
    /// them.
    bool sample_zeros = false;
    /// Of chunks that the target held before one in 16 is read back, not all.
    bool sample_equal = false;
    /// Shown each chunk as it was read; from any worker.
    std::function<void(const Slot&)> on_chunk = {};

    /// Digests are made of chunks that the target held before, too: the journal names them.
    bool digest_equal = false;
    block::Device::Zeroing zeroing = block::Device::Zeroing::kDeallocate;
};

/// Workers, depth and chunk size for these two devices and this much data, where `tuning` leaves the choice.
/// The number of digests stays below about a million, with a tuning below four. Throws kUsage for a tuning
/// that takes too much memory.
PipelineOptions choose_pipeline(const block::Geometry& source, const block::Geometry& target,
                                std::uint64_t data_bytes, const Tuning& tuning = {});

class Journal;

/// What is known of the chunks of an extent set, in order: what verify compares with.
struct ChunkDigests {
    std::vector<codec::Xxh128> digests;
    /// 1: the target held the same bytes already, read from the medium.
    std::vector<std::uint8_t> was_equal;
};

/// Whether verify_data reads this chunk, which the target held before or not.
bool is_read_back(const PipelineOptions& options, std::size_t chunk, bool was_equal);

struct Moved {
    std::uint64_t bytes_read = 0;   ///< from the source; holes are not read
    std::uint64_t bytes_equal = 0;  ///< the target held them already
    ChunkDigests chunks;
};

/// Copies `data` from source to target, same offsets. Runs of zeros become zeroing, or nothing where the
/// target has a hole already. Adds data.total_bytes() to progress. What of the source cannot be read is added
/// to `bad`, exact to a sector; it throws kSourceIo then, unless that is tolerated. Where the target cannot
/// be read to compare, it is written. Chunks that `known` calls equal are left alone, and their progress is
/// not counted. The journal is told of all others but those with bad sectors, which the next run shall find
/// again.
Moved copy_data(const block::Reader& source, block::Target& target, const block::ExtentSet& data,
                const PipelineOptions& options, Progress& progress, std::stop_token stop, BadSectors& bad,
                ChunkDigests known = {}, Journal* journal = nullptr);

/// Makes `zero` read as zeros, in pieces that can be interrupted.
void zero_ranges(block::Target& target, const block::ExtentSet& zero, const PipelineOptions& options,
                 Progress& progress, std::stop_token stop);

/// Reads `data` back from the medium and compares with what copy_data digested; what was equal before was
/// read then. Throws kIntegrity with the place of the first difference.
void verify_data(const block::Reader& target, const block::ExtentSet& data, const ChunkDigests& expected,
                 const PipelineOptions& options, Progress& progress, std::stop_token stop);

/// What of `zero` has to be read to see that it is zero: not the holes that the filesystem reports, and
/// samples only if the options say so.
block::ExtentSet zeros_to_read(const block::Reader& target, const block::ExtentSet& zero,
                               const PipelineOptions& options);

/// Reads `zero` back from the medium, or samples of it; holes that the filesystem reports count as read.
/// Returns how much counts. Throws kIntegrity.
std::uint64_t verify_zero(const block::Reader& target, const block::ExtentSet& zero,
                          const PipelineOptions& options, Progress& progress, std::stop_token stop);

}  // namespace dupengine::engine
