#include "engine/pipeline.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/copy_bytes.h"
#include "base/units.h"
#include "engine/chunk_bytes.h"
#include "engine/journal.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using From = block::Reader::From;

// Zeros are looked for in pieces of this size: small enough to find them, large enough for big transfers.
constexpr std::uint64_t kZeroGrain = 64 * kKiB;
// Differences are looked for in pieces of a page, or a sector: what is written beside what differs stays
// small.
constexpr std::uint64_t kCompareGrain = 4 * kKiB;

void zero_unless_hole(block::Target& target, Extent extent, block::Device::Zeroing how) {
    if (how == block::Device::Zeroing::kDeallocate && !target.has_data(extent)) return;
    target.zero(extent, how);
}

// Calls `on_run(run, is)` for the alternating runs of an extent in which `test(piece)`, asked for each piece
// between multiples of `grain`, answers the same.
template <typename Test, typename OnRun>
void for_each_run(Extent extent, std::uint64_t grain, Test&& test, OnRun&& on_run) {
    const auto piece_at = [&](ByteOffset at) {
        return Extent{at, std::min(align_down(at, grain) + grain, extent.end)};
    };
    Extent run{extent.begin, extent.begin};
    bool is = false;
    while (run.end < extent.end) {
        const Extent piece = piece_at(run.end);
        const bool now = test(piece);
        if (now != is && !run.empty()) {
            on_run(run, is);
            run.begin = piece.begin;
        }
        is = now;
        run.end = piece.end;
    }
    if (!run.empty()) on_run(run, is);
}

void start_writes(Slot& slot, block::Target& target, Extent extent, block::Device::Zeroing how) {
    for_each_run(
        extent, kZeroGrain, [&](Extent piece) { return is_zero(slot.bytes_of(piece)); },
        [&](Extent run, bool zero) {
            if (zero)
                zero_unless_hole(target, run, how);
            else
                slot.start_write(target, run);
        });
}

bool is_equal(const Slot& slot, Extent extent) {
    return std::memcmp(slot.bytes_of(extent, 0).data(), slot.bytes_of(extent, 1).data(), extent.size()) == 0;
}

// Starts writes of what differs between the two areas. Returns how much was equal.
std::uint64_t start_writes_of_differences(Slot& slot, block::Target& target, Extent extent,
                                          block::Device::Zeroing how) {
    if (is_equal(slot, extent)) return extent.size();
    std::uint64_t equal_bytes = 0;
    for_each_run(
        extent, std::max<std::uint64_t>(kCompareGrain, target.geometry().logical_sector_bytes),
        [&](Extent piece) { return is_equal(slot, piece); },
        [&](Extent run, bool equal) {
            if (equal)
                equal_bytes += run.size();
            else
                start_writes(slot, target, run, how);
        });
    return equal_bytes;
}

// Whether the next chunk may be on the target already: past the end of what an interrupted copy wrote nothing
// is, and reading it there would only take time. Then one chunk in some is looked at, until they are equal
// again. From any thread; approximate.
class Likelihood {
  public:
    bool worth_comparing(std::size_t chunk) const {
        constexpr unsigned kMisses = 16, kProbe = 16;
        return misses_.load(std::memory_order_relaxed) < kMisses || chunk % kProbe == 0;
    }
    void learn(std::uint64_t equal_bytes, std::uint64_t bytes) {
        if (equal_bytes * 2 >= bytes)
            misses_.store(0, std::memory_order_relaxed);
        else
            misses_.fetch_add(1, std::memory_order_relaxed);
    }

  private:
    std::atomic<unsigned> misses_{0};
};

// The last sector of an odd-sized source is filled up with zeros.
void read_now(Slot& slot, const block::Reader& source, Extent extent) {
    const Extent readable = extent.clipped_to({0, source.geometry().size_bytes});
    source.read(readable.begin, slot.bytes_of(readable));
    if (readable.end < extent.end) std::ranges::fill(slot.bytes_of({readable.end, extent.end}), std::byte{0});
}

// For a source that knows the digests of what it holds: which pieces the target's bytes in area 1 are
// already. They are in area 0 afterwards. A source that is far away hears of all that is lacking before the
// first of it is waited for; true if it was told.
bool find_held(Slot& slot, const block::Reader& source) {
    bool is_told = false;
    for_each_piece(slot, source.known_piece_bytes(), 1, [&](Extent piece, std::span<const Extent> extents) {
        const bool held = source.holds(piece.begin, slot.bytes_of(piece, 1));
        slot.is_held.push_back(held);
        for (Extent e : extents) {
            const Extent readable = e.clipped_to({0, source.geometry().size_bytes});
            if (!held && !readable.empty()) is_told |= source.will_read(readable);
        }
    });
    // Most of it is held: that stays where it is.
    slot.swap_areas();
    return is_told;
}

// After find_held: reads the rest. Area 1 has what the target holds in its place.
void read_lacking(Slot& slot, const block::Reader& source) {
    auto held = slot.is_held.begin();
    for_each_piece(slot, source.known_piece_bytes(), 0, [&](Extent, std::span<const Extent> extents) {
        if (*held++) return;
        for (Extent e : extents) {
            copy_bytes(slot.bytes_of(e, 0), slot.bytes_of(e, 1));
            read_now(slot, source, e);
        }
    });
}

// As start_writes_of_differences, of a chunk that read_lacking has read.
std::uint64_t start_writes_of_lacking(Slot& slot, std::uint64_t piece_bytes, block::Target& target,
                                      block::Device::Zeroing how) {
    std::uint64_t equal_bytes = 0;
    auto held = slot.is_held.begin();
    for_each_piece(slot, piece_bytes, 1, [&](Extent, std::span<const Extent> extents) {
        const bool equal = *held++;
        for (Extent e : extents)
            equal_bytes += equal ? e.size() : start_writes_of_differences(slot, target, e, how);
    });
    return equal_bytes;
}

void throw_if_bad(const block::Reader& source, const BadSectors& bad) {
    const ExtentSet extents = bad.extents();
    if (!extents.empty())
        throw_errno(Code::kSourceIo, EIO, "{}: {} at byte {} cannot be read", source.name(),
                    format_size(extents.begin()->size()), extents.begin()->begin);
}

// Of each chunk there is a digest in memory, and its place in the journal.
void refuse_too_many_chunks(std::uint64_t data_bytes, std::uint64_t chunk_bytes,
                            std::uint64_t largest_chunk) {
    constexpr std::uint64_t kMostChunks = 1u << 22;
    std::uint64_t least = chunk_bytes;
    while (least < largest_chunk && data_bytes / least > kMostChunks)
        least *= 2;
    if (least != chunk_bytes)
        throw_error(Code::kUsage, "{} in chunks of {} are too many; --chunk-size={}K or more works",
                    format_size(data_bytes), format_size(chunk_bytes), least / kKiB);
}

// Large ranges in pieces, so that they can be interrupted and shown; each may be of any length for the
// device.
constexpr std::uint64_t kZeroPiece = kGiB;

}  // namespace

PipelineOptions choose_pipeline(const block::Geometry& source, const block::Geometry& target,
                                std::uint64_t data_bytes, const Tuning& tuning) {
    PipelineOptions options;
    Lanes& lanes = options.lanes;
    // Two workers: one digests while the other waits for its processor time. A head that moves wants order
    // and long ways in one direction; everything else wants many transfers under way.
    const bool moves_a_head = source.rotational || target.rotational;
    lanes.workers = moves_a_head ? 1 : 2;
    lanes.depth = 4;
    if (moves_a_head) {
        lanes.chunk_bytes = 4 * kMiB;
        options.bridge_bytes = 256 * kKiB;
    } else if (source.in_memory && target.in_memory) {
        // What was read of both is still in a processor's own cache when it is compared or digested.
        lanes.chunk_bytes = 256 * kKiB;
    }
    constexpr std::uint64_t kMostDigests = 1u << 20;
    constexpr std::uint64_t kLargestChunk = 8 * kMiB;
    constexpr std::uint64_t kUsualMemory = 16 * kMiB, kMostMemory = 64 * kMiB;
    while (data_bytes / lanes.chunk_bytes > kMostDigests && lanes.chunk_bytes < kLargestChunk)
        lanes.chunk_bytes *= 2;
    if (tuning.chunk_bytes != 0) {
        lanes.chunk_bytes = tuning.chunk_bytes;
        refuse_too_many_chunks(data_bytes, lanes.chunk_bytes, kLargestChunk);
    }
    if (tuning.workers != 0) lanes.workers = tuning.workers;
    const auto memory = [&] { return std::uint64_t{lanes.workers} * lanes.depth * lanes.chunk_bytes; };
    while (lanes.depth > 1 && memory() > kUsualMemory)
        lanes.depth /= 2;
    if (tuning.depth != 0) lanes.depth = tuning.depth;
    if (memory() > kMostMemory)
        throw_error(Code::kUsage, "{} workers x {} chunks x {} are more than {} of buffers", lanes.workers,
                    lanes.depth, format_size(lanes.chunk_bytes), format_size(kMostMemory));
    lanes.bytes_per_second = tuning.bytes_per_second;
    return options;
}

Moved copy_data(const block::Reader& source, block::Target& target, const ExtentSet& data,
                const PipelineOptions& options, Progress& progress, std::stop_token stop, BadSectors& bad,
                ChunkDigests known, Journal* journal) {
    Lanes lanes = options.lanes;
    if (options.differences_only) lanes.areas = 2;
    Moved moved;
    moved.chunks = std::move(known);
    const std::size_t count = count_chunks(data, lanes.chunk_bytes);
    moved.chunks.digests.resize(count);
    moved.chunks.was_equal.resize(count);
    const std::vector<std::uint8_t> is_known = moved.chunks.was_equal;
    const auto has_digest = [&](std::size_t chunk, bool equal) {
        return is_read_back(options, chunk, equal) || options.digest_equal;
    };
    std::atomic<std::uint64_t> bytes_read{0}, bytes_equal{0};
    const bool source_knows =
        source.known_piece_bytes() != 0 && lanes.chunk_bytes % source.known_piece_bytes() == 0;
    source.expect(data);
    Likelihood likely;
    ChunkWork work;
    work.leaves_out = [&](const Chunk& chunk) { return is_known[chunk.number] != 0; };
    work.read_failed = [](Slot& slot, const Error& e) {
        if (e.code() == Code::kSourceIo)
            slot.incomplete = true;
        else if (e.code() == Code::kTargetIo)
            slot.compares =
                false;  // it is written, and read back: a disk replaces a sector when it is written
        else
            throw;
    };
    work.read = [&](Slot& slot) {
        slot.compares = options.differences_only && likely.worth_comparing(slot.chunk.number);
        slot.unread = slot.compares && source_knows;
        slot.is_held.clear();
        try {
            if (slot.compares) start_reads(slot, target, From::kMedium, options.bridge_bytes, 1);
        } catch (const Error& e) {
            work.read_failed(slot, e);
        }
        if (slot.unread) return;
        try {
            bytes_read += start_reads(slot, source, From::kAnywhere, options.bridge_bytes);
        } catch (Error& e) {
            // Whatever a source calls it: it was not the target that could not be read.
            if (e.code() == Code::kTargetIo) e.set_code(Code::kSourceIo);
            throw;
        }
    };
    work.look = [&](Slot& slot) {
        if (slot.unread && !slot.incomplete) {
            try {
                // What it was told to send comes while others are looked at.
                if (slot.compares && slot.is_held.empty() && find_held(slot, source))
                    return slot.wait_a_turn();
                if (slot.compares)
                    read_lacking(slot, source);
                else  // the target cannot be read there
                    for (Extent e : slot.chunk.extents)
                        read_now(slot, source, e);
            } catch (const Error& e) {
                if (e.code() != Code::kSourceIo) throw;
                slot.incomplete = true;
            }
        }
        if (slot.incomplete) {
            salvage(slot, source, bad);
            if (!options.tolerate_bad_sectors) throw_if_bad(source, bad);
        }
        const bool compares = slot.compares && !slot.incomplete;
        std::uint64_t equal = 0;
        if (slot.unread && compares)
            equal = start_writes_of_lacking(slot, source.known_piece_bytes(), target, options.zeroing);
        if (slot.unread) bytes_read += size_of(slot.chunk) - equal;
        if (options.on_chunk) options.on_chunk(slot);
        const auto keep_digest = [&](bool was_equal) {
            moved.chunks.was_equal[slot.chunk.number] = was_equal;
            if (has_digest(slot.chunk.number, was_equal))
                moved.chunks.digests[slot.chunk.number] = digest_of(slot);
        };
        if (!compares) {
            keep_digest(false);
            for (Extent e : slot.chunk.extents)
                start_writes(slot, target, e, options.zeroing);
            return;
        }
        if (!slot.unread)
            for (Extent e : slot.chunk.extents)
                equal += start_writes_of_differences(slot, target, e, options.zeroing);
        bytes_equal += equal;
        likely.learn(equal, size_of(slot.chunk));
        keep_digest(equal == size_of(slot.chunk));
    };
    work.end = [&](Slot& slot) {
        progress.advance(size_of(slot.chunk));
        const std::size_t chunk = slot.chunk.number;
        if (journal != nullptr && !slot.incomplete && has_digest(chunk, moved.chunks.was_equal[chunk] != 0))
            journal->chunk_written(chunk, moved.chunks.digests);
    };
    try {
        for_each_chunk(data, lanes, stop, work);
    } catch (const Error& e) {
        // The target is well: what has come so far need not come again.
        if (journal != nullptr &&
            (e.code() == Code::kInterrupted || e.code() == Code::kSourceIo || e.code() == Code::kPeer))
            journal->record_before_stopping(moved.chunks.digests);
        throw;
    }
    moved.bytes_read = bytes_read;
    moved.bytes_equal = bytes_equal;
    return moved;
}

void zero_ranges(block::Target& target, const ExtentSet& zero, const PipelineOptions& options,
                 Progress& progress, std::stop_token stop) {
    for (Extent e : zero) {
        for (ByteOffset at = e.begin; at < e.end; at += kZeroPiece) {
            if (stop.stop_requested())
                throw_error(
                    Code::kInterrupted,
                    "stopped on request; the target is marked unfinished, run the same command again");
            const Extent piece{at, std::min(e.end, at + kZeroPiece)};
            zero_unless_hole(target, piece, options.zeroing);
            progress.advance(piece.size());
        }
    }
}

}  // namespace dupengine::engine
