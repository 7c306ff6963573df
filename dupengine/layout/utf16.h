#pragma once
// GPT names are UTF-16, little-endian; everything else here is UTF-8. Pure functions. Text from a disk may be
// anything: an unpaired surrogate becomes U+FFFD, so that the result is always valid UTF-8. Private to
// layout/.

#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace dupengine::layout {

struct Utf16Text {
    std::string utf8;
    bool damaged = false;  ///< something had to be replaced
};

/// Up to the first NUL or the end.
Utf16Text utf8_from_utf16(std::span<const std::byte> units);

/// Little-endian units without a NUL. Throws kRefused if `text` is not UTF-8 or holds a NUL.
Bytes utf16_from_utf8(std::string_view text);

}  // namespace dupengine::layout
