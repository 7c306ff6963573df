#pragma once
// Bytes as numbers, without a C++ library; base/bytes.h is the one of everything else. Pure.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "efi/core/text.h"

namespace dupengine::efi {

using Bytes = std::span<const std::byte>;
using Buffer = std::span<std::byte>;

inline constexpr std::uint64_t kMiB = std::uint64_t{1024} * 1024;

/// An unsigned integer stored little-endian at `offset`. One that passes the end ends the program: callers
/// know sizes.
template <typename T>
T load_le(Bytes bytes, std::size_t offset) {
    static_assert(std::endian::native == std::endian::little);
    T value;
    __builtin_memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
    return value;
}

inline TextView as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline bool is_zero(Bytes bytes) {
    for (std::byte b : bytes)
        if (b != std::byte{0}) return false;
    return true;
}

inline bool equal(Bytes a, Bytes b) {
    return a.size() == b.size() && __builtin_memcmp(a.data(), b.data(), a.size()) == 0;
}

/// CRC-32 of IEEE 802.3, as GPT headers and profile slots have it.
std::uint32_t crc32(Bytes bytes);

}  // namespace dupengine::efi
