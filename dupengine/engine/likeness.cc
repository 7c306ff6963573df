// Does the target hold a good part of what is to be copied already: an older copy, or an unfinished one? A
// few samples tell, spread evenly over the data. Reading what is there costs less than writing it again only
// if much of it stays.

#include <algorithm>

#include "engine/plan.h"

namespace dupengine::engine {
namespace {

using block::Extent;

constexpr unsigned kSamples = 32;
constexpr std::uint64_t kSampleBytes = 16 * kKiB;
// Reading goes along with reading the source; it pays long before half of the writing is saved.
constexpr unsigned kEqualNeeded = kSamples / 4;

// Told by the digest of a piece of the data around the sample, so that it need not be read from far away.
// That a source does not say so proves nothing.
bool is_known_to_be_alike(const block::Reader& source, const block::Reader& target, Extent sample,
                          Extent data) {
    const std::uint64_t size = source.known_piece_bytes();
    if (size == 0) return false;
    const Extent piece{align_down(sample.begin, size), align_down(sample.begin, size) + size};
    if (!data.contains(piece) || piece.end > target.geometry().size_bytes) return false;
    const Bytes theirs = block::read_extent(target, piece);
    return !is_zero(theirs) && source.holds(piece.begin, theirs);
}

// The sample's bytes are the same on both, and more than zeros, which any empty disk has.
bool is_alike(const block::Reader& source, const block::Reader& target, Extent sample, Extent data) {
    try {
        if (is_known_to_be_alike(source, target, sample, data)) return true;
        const Bytes ours = block::read_extent(source, sample);
        return !is_zero(ours) && ours == block::read_extent(target, sample);
    } catch (const Error& e) {
        // A source that cannot be reached is waited for once, not for each sample.
        if (e.code() == Code::kPeer || e.code() == Code::kInterrupted) throw;
        return false;  // whoever copies it will tell
    }
}

unsigned count_alike(const CopyPlan& plan, const block::Reader& source, const block::Reader& target) {
    const std::uint64_t total = plan.data.total_bytes();
    const std::uint64_t end = std::min(source.geometry().size_bytes, target.geometry().size_bytes);
    unsigned alike = 0, taken = 0;
    std::uint64_t before = 0;  // bytes of data in front of the extent
    for (Extent e : plan.data) {
        for (; taken < kSamples && total * taken / kSamples < before + e.size(); ++taken) {
            const ByteOffset at = e.begin + (std::max(total * taken / kSamples, before) - before);
            const Extent sample =
                Extent{align_down(at, 512), at + kSampleBytes}.clipped_to(e).clipped_to({0, end});
            if (!sample.empty() && is_alike(source, target, sample, e)) ++alike;
        }
        before += e.size();
    }
    return alike;
}

}  // namespace

void decide_delta(CopyPlan& plan, const block::Reader& source, const block::Reader& target) {
    plan.delta = plan.options.delta == Delta::kAlways;
    if (plan.options.delta != Delta::kAuto) return;
    // What an interrupted copy wrote is in the order of the disk, and the pipeline sees where it ends.
    plan.delta = plan.target.incomplete.has_value();
    if (plan.delta) return;
    const unsigned alike = count_alike(plan, source, target);
    plan.delta = alike >= kEqualNeeded;
    if (plan.delta)
        plan.notes.push_back(fmt::format(
            "{} of {} samples are on the target already: only what differs is written (--delta=auto)", alike,
            kSamples));
}

}  // namespace dupengine::engine
