#include "engine/pipeline.h"

#include <algorithm>
#include <atomic>

#include "engine/chunks.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;

// Zeros are looked for in pieces of this size: small enough to find them, large enough for big transfers.
constexpr std::uint64_t kZeroGrain = 64 * kKiB;

std::span<std::byte> part_of(std::span<std::byte> buffer, const Chunk& chunk, Extent extent) {
    return buffer.subspan(extent.begin - chunk.base, extent.size());
}

// Reads what the source has of the extent; its holes are zeros in the buffer without being read.
std::uint64_t read_with_holes(const block::Reader& source, const Chunk& chunk, Extent extent,
                              std::span<std::byte> buffer) {
    std::uint64_t read_bytes = 0;
    ByteOffset at = extent.begin;
    // The last sector of an odd-sized source is filled up with zeros.
    const ByteOffset readable_end = std::min(extent.end, source.geometry().size_bytes);
    while (at < extent.end) {
        const Extent data = at < readable_end ? source.next_data({at, readable_end}) : Extent{};
        const ByteOffset data_begin = data.empty() ? extent.end : data.begin;
        std::ranges::fill(part_of(buffer, chunk, {at, data_begin}), std::byte{0});
        if (data.empty()) break;
        source.read(data.begin, part_of(buffer, chunk, data));
        read_bytes += data.size();
        at = data.end;
    }
    return read_bytes;
}

void zero_unless_hole(block::Target& target, Extent extent, block::Device::Zeroing how) {
    if (how == block::Device::Zeroing::kDeallocate && target.next_data(extent).empty()) return;
    target.zero(extent, how);
}

// Writes an extent as alternating runs of data and zeros.
void write_runs(block::Target& target, const Chunk& chunk, Extent extent, std::span<std::byte> buffer,
                block::Device::Zeroing how) {
    const auto grain_end = [&](ByteOffset at) {
        return std::min(align_down(at, kZeroGrain) + kZeroGrain, extent.end);
    };
    const auto zero_at = [&](ByteOffset at) { return is_zero(part_of(buffer, chunk, {at, grain_end(at)})); };
    ByteOffset at = extent.begin;
    bool zero = zero_at(at);
    while (at < extent.end) {
        Extent run{at, grain_end(at)};
        bool next_zero = zero;
        while (run.end < extent.end && (next_zero = zero_at(run.end)) == zero)
            run.end = grain_end(run.end);
        if (zero)
            zero_unless_hole(target, run, how);
        else
            target.write(run.begin, part_of(buffer, chunk, run));
        at = run.end;
        zero = next_zero;
    }
}

codec::Xxh128 digest_of(const Chunk& chunk, std::span<std::byte> buffer) {
    if (chunk.extents.size() == 1) return codec::xxh128(part_of(buffer, chunk, chunk.extents[0]));
    // Bytes between the extents are set to zero, so that one pass over the buffer is enough.
    ByteOffset at = chunk.extents.front().begin;
    for (Extent e : chunk.extents) {
        std::ranges::fill(part_of(buffer, chunk, {at, e.begin}), std::byte{0});
        at = e.end;
    }
    return codec::xxh128(part_of(buffer, chunk, {chunk.extents.front().begin, chunk.extents.back().end}));
}

// Large ranges in pieces, so that they can be interrupted and shown; each may be of any length for the
// device.
constexpr std::uint64_t kZeroPiece = kGiB;

}  // namespace

PipelineOptions choose_pipeline(const block::Geometry& source, const block::Geometry& target,
                                std::uint64_t data_bytes) {
    PipelineOptions options;
    // Two workers keep a reader and a writer busy in turn; a real device wants more in flight, but a head
    // that moves wants order.
    const bool moves_a_head = source.rotational || target.rotational;
    const bool real_device = source.is_block_device || target.is_block_device;
    options.workers = real_device && !moves_a_head ? 4 : 2;
    constexpr std::uint64_t kMostDigests = 1u << 20;
    constexpr std::uint64_t kLargestChunk = 8 * kMiB;
    while (data_bytes / options.chunk_bytes > kMostDigests && options.chunk_bytes < kLargestChunk)
        options.chunk_bytes *= 2;
    return options;
}

Moved copy_data(const block::Reader& source, block::Target& target, const ExtentSet& data,
                const PipelineOptions& options, Progress& progress, std::stop_token stop) {
    Moved moved;
    moved.chunks.digests.resize(count_chunks(data, options.chunk_bytes));
    std::atomic<std::uint64_t> bytes_read{0};
    for_each_chunk(data, options.chunk_bytes, options.workers, stop,
                   [&](const Chunk& chunk, std::span<std::byte> buffer) {
                       std::uint64_t size = 0;
                       for (Extent e : chunk.extents) {
                           bytes_read += read_with_holes(source, chunk, e, buffer);
                           size += e.size();
                       }
                       moved.chunks.digests[chunk.number] = digest_of(chunk, buffer);
                       for (Extent e : chunk.extents)
                           write_runs(target, chunk, e, buffer, options.zeroing);
                       progress.advance(size);
                   });
    moved.bytes_read = bytes_read;
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

void verify_data(const block::Reader& target, const ExtentSet& data, const ChunkDigests& expected,
                 const PipelineOptions& options, Progress& progress, std::stop_token stop) {
    for_each_chunk(data, options.chunk_bytes, options.workers, stop,
                   [&](const Chunk& chunk, std::span<std::byte> buffer) {
                       std::uint64_t size = 0;
                       for (Extent e : chunk.extents) {
                           target.read_from_medium(e.begin, part_of(buffer, chunk, e));
                           size += e.size();
                       }
                       if (chunk.number >= expected.digests.size() ||
                           digest_of(chunk, buffer) != expected.digests[chunk.number])
                           throw_error(Code::kIntegrity,
                                       "{}: what was read back between {} and {} is not what was written",
                                       target.name(), chunk.extents.front().begin, chunk.extents.back().end);
                       progress.advance(size);
                   });
}

void verify_zero(const block::Reader& target, const ExtentSet& zero, const PipelineOptions& options,
                 Progress& progress, std::stop_token stop) {
    // Holes first, range by range: what the filesystem reports as a hole reads as zeros and need not be read.
    ExtentSet to_read;
    for (Extent e : zero) {
        ByteOffset at = e.begin;
        while (at < e.end) {
            const Extent data = target.next_data({at, e.end});
            const ByteOffset hole_end = data.empty() ? e.end : data.begin;
            progress.advance(hole_end - at);
            to_read.insert(data);
            at = data.empty() ? e.end : data.end;
        }
    }
    for_each_chunk(to_read, options.chunk_bytes, options.workers, stop,
                   [&](const Chunk& chunk, std::span<std::byte> buffer) {
                       for (Extent e : chunk.extents) {
                           const auto part = part_of(buffer, chunk, e);
                           target.read_from_medium(e.begin, part);
                           if (!is_zero(part))
                               throw_error(Code::kIntegrity, "{}: {} was zeroed but does not read as zeros",
                                           target.name(), e.text());
                           progress.advance(e.size());
                       }
                   });
}

}  // namespace dupengine::engine
