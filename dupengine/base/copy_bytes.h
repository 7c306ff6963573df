#pragma once
// Copying bytes at the speed of memory: std::ranges::copy of GCC 12 goes byte by byte when the source is
// const.

#include <algorithm>
#include <cstddef>
#include <span>

namespace dupengine {

/// All of `from` to the begin of `to`, which is at least as long. They do not overlap.
inline void copy_bytes(std::span<const std::byte> from, std::span<std::byte> to) {
    std::copy(from.begin(), from.end(), to.first(from.size()).begin());
}

}  // namespace dupengine
