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

void for_each_piece(Slot& slot, std::uint64_t piece_bytes, unsigned area, const OnPiece& on_piece) {
    const auto& extents = slot.chunk.extents;
    std::vector<Extent> inside;
    for (std::size_t next = 0; next < extents.size();) {
        // An extent may go on from the piece before.
        ByteOffset begin = align_down(extents[next].begin, piece_bytes);
        do {
            const Extent piece{begin, begin + piece_bytes};
            inside.clear();
            ByteOffset filled = piece.begin;
            while (next < extents.size() && extents[next].begin < piece.end) {
                const Extent part = extents[next].clipped_to(piece);
                std::ranges::fill(slot.bytes_of({filled, part.begin}, area), std::byte{0});
                filled = part.end;
                inside.push_back(part);
                if (extents[next].end > piece.end) break;
                ++next;
            }
            std::ranges::fill(slot.bytes_of({filled, piece.end}, area), std::byte{0});
            on_piece(piece, inside);
            begin = piece.end;
        } while (next < extents.size() && extents[next].begin < begin);
    }
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
