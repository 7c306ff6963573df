// Reading back from the medium what was copied and what was made zero.

#include <algorithm>

#include "engine/chunk_bytes.h"
#include "engine/pipeline.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using From = block::Reader::From;

// What reads as zeros because the filesystem says so need not be read.
ExtentSet without_holes(const block::Reader& target, const ExtentSet& zero) {
    ExtentSet data;
    for (Extent e : zero) {
        for (ByteOffset at = e.begin; at < e.end;) {
            const Extent found = target.next_data({at, e.end});
            if (found.empty()) break;
            data.insert(found);
            at = found.end;
        }
    }
    return data;
}

// Pieces spread evenly, and both ends.
ExtentSet samples_of(const ExtentSet& all, std::uint64_t sector_bytes) {
    constexpr std::uint64_t kSampleBytes = 64 * kKiB;
    const std::uint64_t total = all.total_bytes();
    const std::uint64_t count = std::clamp<std::uint64_t>(total / (16 * kMiB), 64, 2048);
    if (total <= count * kSampleBytes) return all;
    ExtentSet samples;
    std::uint64_t before = 0, taken = 0;
    for (Extent e : all) {
        for (; taken <= count && total * taken / count <= before + e.size(); ++taken) {
            const ByteOffset at = e.begin + (std::max(total * taken / count, before) - before);
            const ByteOffset begin =
                align_down(std::min(at, e.end - std::min(e.size(), kSampleBytes)), sector_bytes);
            samples.insert(Extent{begin, begin + kSampleBytes}.clipped_to(e));
        }
        before += e.size();
    }
    return samples;
}

}  // namespace

ExtentSet zeros_to_read(const block::Reader& target, const ExtentSet& zero, const PipelineOptions& options) {
    ExtentSet data = without_holes(target, zero);
    return options.sample_zeros ? samples_of(data, target.geometry().logical_sector_bytes) : data;
}

bool is_read_back(const PipelineOptions& options, std::size_t chunk, bool was_equal) {
    // Of what was equal samples: a write that landed in the wrong place may show there.
    constexpr std::size_t kSampled = 16;
    return options.read_back && (!was_equal || !options.sample_equal || chunk % kSampled == 0);
}

void verify_data(const block::Reader& target, const ExtentSet& data, const ChunkDigests& expected,
                 const PipelineOptions& options, Progress& progress, std::stop_token stop) {
    const std::size_t count = count_chunks(data, options.lanes.chunk_bytes);
    if (expected.digests.size() != count || expected.was_equal.size() != count)
        throw_error(Code::kInternal, "{} chunks to verify, digests of {}", count, expected.digests.size());
    const auto looked_at = [&](std::size_t chunk) {
        return is_read_back(options, chunk, expected.was_equal[chunk] != 0);
    };
    ChunkWork work;
    work.read = [&](Slot& slot) {
        if (looked_at(slot.chunk.number)) start_reads(slot, target, From::kMedium, options.bridge_bytes);
    };
    work.look = [&](Slot& slot) {
        if (looked_at(slot.chunk.number) && digest_of(slot) != expected.digests[slot.chunk.number])
            throw_error(Code::kIntegrity, "{}: what was read back between {} and {} is not what was written",
                        target.name(), slot.chunk.extents.front().begin, slot.chunk.extents.back().end);
    };
    work.end = [&](Slot& slot) { progress.advance(size_of(slot.chunk)); };
    for_each_chunk(data, options.lanes, stop, work);
}

std::uint64_t verify_zero(const block::Reader& target, const ExtentSet& zero, const PipelineOptions& options,
                          Progress& progress, std::stop_token stop) {
    const ExtentSet to_read = zeros_to_read(target, zero, options);
    progress.advance(zero.total_bytes() - to_read.total_bytes());
    ChunkWork work;
    work.read = [&](Slot& slot) { start_reads(slot, target, From::kMedium, options.bridge_bytes); };
    work.look = [&](Slot& slot) {
        for (Extent e : slot.chunk.extents)
            if (!is_zero(slot.bytes_of(e)))
                throw_error(Code::kIntegrity, "{}: {} was zeroed but does not read as zeros", target.name(),
                            e.text());
    };
    work.end = [&](Slot& slot) { progress.advance(size_of(slot.chunk)); };
    for_each_chunk(to_read, options.lanes, stop, work);
    return zero.total_bytes() - without_holes(target, zero).total_bytes() + to_read.total_bytes();
}

}  // namespace dupengine::engine
