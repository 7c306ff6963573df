#pragma once
// What copying and reading back do alike with the bytes of a chunk. From the worker that has the slot.

#include <functional>

#include "block/device.h"
#include "codec/digest.h"
#include "engine/chunks.h"

namespace dupengine::engine {

/// Starts reads of what `from` has of the chunk, in few long pieces: what lies between two extents is read
/// along if it is at most `bridge_bytes`. Holes are zeros without being read. Returns how much is read.
std::uint64_t start_reads(Slot& slot, const block::Reader& from, block::Reader::From where,
                          std::uint64_t bridge_bytes, unsigned area = 0);

/// Calls `on_piece(piece, pieces_extents)` for each stretch between multiples of `piece_bytes` that the
/// chunk's extents touch, in order, with everything else of the stretch set to zero. The piece may pass the
/// disk's end.
using OnPiece = std::function<void(block::Extent piece, std::span<const block::Extent> extents)>;
void for_each_piece(Slot& slot, std::uint64_t piece_bytes, unsigned area, const OnPiece& on_piece);

/// Of the chunk's extents in area 0. Sets the bytes between them to zero.
codec::Xxh128 digest_of(const Slot& slot);

}  // namespace dupengine::engine
