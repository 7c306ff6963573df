#include "engine/resume.h"

#include <atomic>

#include "engine/chunk_bytes.h"

namespace dupengine::engine {
namespace {

using From = block::Reader::From;

// What becomes of a chunk that cannot be read: of the source it stays, of the target it goes.
enum class Unreadable { kStays, kGoes };

// Reads the chunks with `wanted` set, and clears it where the bytes have not the digest. Returns the bytes
// read.
std::uint64_t keep_what_matches(const block::Reader& disk, From from, const block::ExtentSet& data,
                                const std::vector<codec::Xxh128>& digests, std::vector<std::uint8_t>& wanted,
                                Unreadable unreadable, const PipelineOptions& options, Progress& progress,
                                std::stop_token stop) {
    std::atomic<std::uint64_t> bytes_read{0};
    ChunkWork work;
    work.leaves_out = [&](const Chunk& chunk) { return wanted[chunk.number] == 0; };
    work.read = [&](Slot& slot) { bytes_read += start_reads(slot, disk, from, options.bridge_bytes); };
    work.read_failed = [=](Slot& slot, const Error& e) {
        if (e.code() != (unreadable == Unreadable::kGoes ? Code::kTargetIo : Code::kSourceIo)) throw;
        slot.incomplete = true;
    };
    work.look = [&](Slot& slot) {
        const std::size_t chunk = slot.chunk.number;
        if (slot.incomplete ? unreadable == Unreadable::kGoes : digest_of(slot) != digests[chunk])
            wanted[chunk] = 0;
    };
    work.end = [&](Slot& slot) { progress.advance(size_of(slot.chunk)); };
    for_each_chunk(data, options.lanes, stop, work);
    return bytes_read;
}

std::vector<std::uint8_t> samples_of(const std::vector<std::uint8_t>& named) {
    constexpr std::size_t kSampled = 16;
    std::vector<std::uint8_t> samples(named.size());
    std::size_t seen = 0;
    for (std::size_t chunk = 0; chunk < named.size(); ++chunk)
        if (named[chunk] != 0 && seen++ % kSampled == 0) samples[chunk] = 1;
    return samples;
}

// Of what the journal names, only what is true stays. False if it is of another source.
bool recheck(Resumption& resumption, const CopyPlan& plan, const block::Reader& source,
             const block::Reader& target, const PipelineOptions& options, Progress& progress,
             std::stop_token stop) {
    ChunkDigests& chunks = resumption.known.chunks;
    const std::vector<std::uint8_t> samples = samples_of(chunks.was_equal);
    std::vector<std::uint8_t> alike = samples;
    Progress unseen;  // what is shown is the reading of the target
    // Where a source has died since, the target's bytes are the better ones: no sample against them.
    resumption.bytes_read = keep_what_matches(source, From::kAnywhere, plan.data, chunks.digests, alike,
                                              Unreadable::kStays, options, unseen, stop);
    if (alike != samples) return false;
    keep_what_matches(target, From::kMedium, plan.data, chunks.digests, chunks.was_equal, Unreadable::kGoes,
                      options, progress, stop);
    ChunkDealer dealer(plan.data, options.lanes.chunk_bytes);
    while (const auto chunk = dealer.next())
        if (chunks.was_equal[chunk->number] != 0) resumption.bytes += size_of(*chunk);
    return true;
}

// Differs from that of every journal whose blocks may lie in the same place.
codec::Sha256 draw_id(const CopyPlan& plan, std::int64_t now) {
    codec::Sha256Stream stream;
    stream.update(plan.journal->mark.plan);
    stream.update(plan.journal->mark.source);
    if (plan.target.incomplete && plan.target.incomplete->journal)
        stream.update(plan.target.incomplete->journal->id);
    stream.update(as_bytes(std::to_string(now)));
    return stream.finish();
}

}  // namespace

Resumption take_up_journal(const CopyPlan& plan, const block::Reader& source, const block::Reader& target,
                           const PipelineOptions& options, Progress& progress, std::stop_token stop,
                           std::int64_t now) {
    Resumption resumption;
    if (!plan.journal) return resumption;
    resumption.journal = plan.journal->mark;
    const std::size_t count = count_chunks(plan.data, options.lanes.chunk_bytes);
    if (plan.journal->continues) {
        resumption.known = read_journal(target, plan.journal->mark, count);
        if (recheck(resumption, plan, source, target, options, progress, stop)) return resumption;
        resumption.note =
            "the unfinished copy's journal was not used: samples show that it is of another source";
    }
    resumption.known = no_journal(count);
    resumption.journal->id = draw_id(plan, now);
    return resumption;
}

}  // namespace dupengine::engine
