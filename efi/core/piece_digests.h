#pragma once
// The digests of a disk image that a web server gives out (bootloader_hooks/piece_digests_format.h). Pure.

#include "efi/core/bytes.h"

namespace dupengine::efi {

struct PieceDigests {
    Bytes digests;
    std::uint64_t image_bytes = 0;

    /// Whether this is what the image has at this piece; its size counts as well.
    bool hold(std::uint64_t piece, Bytes bytes) const;
    /// The last one may be shorter. `piece` is one of the image.
    std::size_t bytes_of(std::uint64_t piece) const;
};

/// Returns nothing, or why it is no such file. `into` points into `content`.
TextView read_piece_digests(Bytes content, PieceDigests& into);

}  // namespace dupengine::efi
