#pragma once
// A chunk as it is stored. The same chunk gives the same bytes, whenever it is asked in this run.

#include "codec/compression.h"

namespace dupengine::image {

struct StoredForm {
    std::span<const std::byte> bytes;  ///< good until the next call in this thread, and as long as the chunk
    bool compressed = false;           ///< with zstd; else as it is, because that would save next to nothing
};

inline StoredForm stored_form(std::span<const std::byte> chunk) {
    // The fastest of the usual levels: most of what level 3 saves, in half of the time.
    constexpr int kLevel = 1;
    thread_local codec::Compressor compressor(kLevel);
    const auto compressed = compressor.compress(chunk);
    return compressed.empty() ? StoredForm{chunk, false} : StoredForm{compressed, true};
}

}  // namespace dupengine::image
