#pragma once
// The section .keys of dupengine.efi: whose signatures it believes. It has room for a few keys and is filled
// in before the program is signed for Secure Boot, so that firmware's check covers it. Shared by efi/, which
// reads it, and efi_keys.cc, which fills it. Needs no library behind it.
//
//      0  16  magic "DUPENGINE-KEYS-1"
//     16   4  number of keys
//     20  12  zeros
//     32  32  each key, as RFC 8032 has it; zeros behind the last

#include <array>
#include <cstddef>
#include <cstdint>

namespace dupengine::boot::keys {

inline constexpr char kSectionName[] = ".keys";
inline constexpr std::array kMagic = {'D', 'U', 'P', 'E', 'N', 'G', 'I', 'N',
                                      'E', '-', 'K', 'E', 'Y', 'S', '-', '1'};
inline constexpr std::size_t kMost = 8, kKeyBytes = 32;
inline constexpr std::size_t kCountAt = 16, kKeysAt = 32, kBytes = kKeysAt + kMost * kKeyBytes;

}  // namespace dupengine::boot::keys
