#pragma once
// Puts keys into dupengine.efi, in the section that it has for them (efi_keys_format.h). Pure.

#include <array>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "bootloader_hooks/efi_keys_format.h"

namespace dupengine::boot {

using PublicKey = std::array<std::byte, keys::kKeyBytes>;

/// The program with these keys and no others. Throws kUsage if it is no dupengine.efi, kRefused if there are
/// too many keys, or if it is signed for Secure Boot: the change would break that.
Bytes with_keys(std::span<const std::byte> program, std::span<const PublicKey> trusted);

}  // namespace dupengine::boot
