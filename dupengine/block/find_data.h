#pragma once
// Looks for bytes that are not zero. Reads, and never writes; skips what the reader knows to be a hole. Any
// thread.

#include <optional>

#include "block/device.h"

namespace dupengine::block {

/// Where the first sector's worth of bytes in `within` that are not all zero begins (exact to 512 bytes), or
/// empty. Reads all of `within` if there are none. Throws what reading throws.
std::optional<ByteOffset> find_data(const Reader& reader, Extent within);

}  // namespace dupengine::block
