#pragma once
// Signatures of Ed25519 (RFC 8032): the check alone, because nothing is signed before the operating system.
// Keys, texts and signatures are public, so nothing here has to take the same time for all of them. Pure.

#include <array>

#include "efi/core/bytes.h"

namespace dupengine::efi {

using PublicKey = std::array<std::byte, 32>;
inline constexpr std::size_t kSignatureBytes = 64;

/// Whether the owner of the key signed this. As strict as RFC 8032 5.1.7: numbers that are not in their
/// smallest form are none.
bool is_signed_by(const PublicKey& key, Bytes message, Bytes signature);

}  // namespace dupengine::efi
