#include "engine/chunk_bytes.h"

#include <algorithm>

namespace dupengine::engine {

using block::Extent;

std::uint64_t start_reads(Slot& slot, const block::Reader& from, block::Reader::From where,
                          std::uint64_t bridge_bytes, unsigned area) {
    std::uint64_t read_bytes = 0;
    Extent piece;
    const auto start_piece = [&] {
        if (piece.empty()) return;
        slot.start_read(from, piece, where, area);
        read_bytes += piece.size();
    };
    for (Extent extent : slot.chunk.extents) {
        // The last sector of an odd-sized source is filled up with zeros.
        const ByteOffset readable_end = std::min(extent.end, from.geometry().size_bytes);
        for (ByteOffset at = extent.begin; at < extent.end;) {
            const Extent data = at < readable_end ? from.next_data({at, readable_end}) : Extent{};
            const Extent hole{at, data.empty() ? extent.end : data.begin};
            if (!hole.empty()) std::ranges::fill(slot.bytes_of(hole, area), std::byte{0});
            if (data.empty()) break;
            if (!piece.empty() && data.begin - piece.end <= bridge_bytes) {
                piece.end = data.end;
            } else {
                start_piece();
                piece = data;
            }
            at = data.end;
        }
    }
    start_piece();
    return read_bytes;
}

codec::Xxh128 digest_of(const Slot& slot) {
    const auto& extents = slot.chunk.extents;
    // Bytes between the extents are set to zero, so that one pass is enough.
    ByteOffset at = extents.front().begin;
    for (Extent e : extents) {
        if (at < e.begin) std::ranges::fill(slot.bytes_of({at, e.begin}), std::byte{0});
        at = e.end;
    }
    return codec::xxh128(slot.bytes_of({extents.front().begin, at}));
}

}  // namespace dupengine::engine
