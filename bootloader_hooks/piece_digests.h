#pragma once
// Makes FILE.digests of a raw disk image, which firmware holds it against (piece_digests_format.h).

#include <stop_token>

#include "block/device.h"

namespace dupengine::boot {

/// The content of the file. Throws kSourceIo, kInterrupted.
Bytes make_piece_digests(const block::Reader& image, const std::stop_token& stop = {});

}  // namespace dupengine::boot
