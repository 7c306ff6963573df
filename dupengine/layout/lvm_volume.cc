#include "layout/lvm_volume.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

using block::Extent;
using block::ExtentSet;

// How many of the first `bytes` of a segment are in its stripe with this number. What of a stripe holds a run
// of the segment is therefore a run, too.
std::uint64_t bytes_in_stripe(const LvmSegment& segment, std::size_t number, std::uint64_t bytes) {
    const std::uint64_t row = segment.stripe_bytes * segment.stripes.size();
    const std::uint64_t in_last_row = bytes % row, before = number * segment.stripe_bytes;
    const std::uint64_t of_last_row =
        in_last_row <= before ? 0 : std::min(in_last_row - before, segment.stripe_bytes);
    return bytes / row * segment.stripe_bytes + of_last_row;
}

}  // namespace

LvmVolumeReader::LvmVolumeReader(const LvmLogicalVolume& volume,
                                 const std::vector<const block::Reader*>& parts)
    : volume_(volume), parts_(parts) {
    for (const LvmSegment& segment : volume.segments)
        for (const LvmSegment::Stripe& stripe : segment.stripes)
            geometry_.logical_sector_bytes = std::max(geometry_.logical_sector_bytes,
                                                      parts[stripe.volume]->geometry().logical_sector_bytes);
    geometry_.size_bytes = volume.size_bytes;
}

void LvmVolumeReader::read(ByteOffset offset, std::span<std::byte> buffer) const {
    if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset)
        throw_error(Code::kSourceIo, "{}: {} bytes at {} pass its end", name(), buffer.size(), offset);
    auto segment = std::upper_bound(volume_.segments.begin(), volume_.segments.end(), offset,
                                    [](ByteOffset at, const LvmSegment& s) { return at < s.range.end; });
    while (!buffer.empty()) {
        const std::uint64_t inside = offset - segment->range.begin;
        const std::uint64_t chunk = inside / segment->stripe_bytes, count = segment->stripes.size();
        const std::uint64_t in_chunk = inside % segment->stripe_bytes;
        const LvmSegment::Stripe& stripe = segment->stripes[chunk % count];
        const std::size_t size = std::min<std::uint64_t>(buffer.size(), segment->stripe_bytes - in_chunk);
        parts_[stripe.volume]->read(stripe.place.begin + chunk / count * segment->stripe_bytes + in_chunk,
                                    buffer.first(size));
        buffer = buffer.subspan(size);
        offset += size;
        if (offset == segment->range.end) ++segment;
    }
}

void LvmVolumeReader::add_places(const ExtentSet& used, std::vector<ExtentSet>& places) const {
    for (const LvmSegment& segment : volume_.segments) {
        const ExtentSet here = used.clipped_to(segment.range);
        for (std::size_t i = 0; i < segment.stripes.size(); ++i) {
            const LvmSegment::Stripe& stripe = segment.stripes[i];
            ExtentSet held;
            for (Extent e : here)
                held.insert({stripe.place.begin + bytes_in_stripe(segment, i, e.begin - segment.range.begin),
                             stripe.place.begin + bytes_in_stripe(segment, i, e.end - segment.range.begin)});
            places[stripe.volume].insert(held);
        }
    }
}

}  // namespace dupengine::layout
