#pragma once
// The keys that were put into this program (bootloader_hooks/efi_keys_format.h).

#include "efi/core/ed25519.h"

namespace dupengine::efi {

/// None, if nobody put any in.
std::span<const PublicKey> built_in_keys();

}  // namespace dupengine::efi
