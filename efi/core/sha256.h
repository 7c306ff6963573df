#pragma once
// SHA-256 (FIPS 180-4). Firmware need not have one, and none of the libraries that do can be compiled for it.
// Pure.

#include <array>

#include "efi/core/bytes.h"

namespace dupengine::efi {

using Sha256 = std::array<std::byte, 32>;

Sha256 sha256(Bytes bytes);

}  // namespace dupengine::efi
