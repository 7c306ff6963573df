#pragma once
// Bytes as numbers: little- and big-endian loads and stores, checked arithmetic, alignment, hexadecimal.
// The one place where byte order and overflow are dealt with. Pure functions; safe from any thread.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace dupengine {

using ByteOffset = std::uint64_t;
using Bytes = std::vector<std::byte>;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

/// Loads an unsigned integer stored little-endian at `offset`. Throws kIntegrity if it would pass the end.
template <typename T>
T load_le(std::span<const std::byte> bytes, std::size_t offset) {
    static_assert(std::is_unsigned_v<T> && std::endian::native == std::endian::little);
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
        throw_error(Code::kIntegrity, "a field at byte {} passes the end of a {} byte structure", offset,
                    bytes.size());
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

template <typename T>
T load_be(std::span<const std::byte> bytes, std::size_t offset) {
    T value = load_le<T>(bytes, offset);
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
    return value;
}

/// Stores little-endian. Throws kInternal if it would pass the end: our own structures have known sizes.
template <typename T>
void store_le(std::span<std::byte> bytes, std::size_t offset, std::type_identity_t<T> value) {
    static_assert(std::is_unsigned_v<T> && std::endian::native == std::endian::little);
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
        throw_error(Code::kInternal, "store of {} bytes at {} in {}", sizeof(T), offset, bytes.size());
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

/// a + b and a * b of values from outside. Throw kIntegrity naming `what` on overflow.
inline std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::string_view what) {
    std::uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) throw_error(Code::kIntegrity, "{}: number too large", what);
    return sum;
}
inline std::uint64_t checked_mul(std::uint64_t a, std::uint64_t b, std::string_view what) {
    std::uint64_t product;
    if (__builtin_mul_overflow(a, b, &product)) throw_error(Code::kIntegrity, "{}: number too large", what);
    return product;
}

/// Rounds to a multiple of `unit` (any unit > 0). align_up saturates at the last multiple that fits.
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) {
    return value - value % unit;
}
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) {
    const std::uint64_t rest = value % unit;
    if (rest == 0) return value;
    const std::uint64_t add = unit - rest;
    return value > std::numeric_limits<std::uint64_t>::max() - add ? value - rest : value + add;
}

/// Whether every byte is zero. Runs at memory speed.
bool is_zero(std::span<const std::byte> bytes);

std::string to_hex(std::span<const std::byte> bytes);
/// Throws kUsage unless `text` is an even number of hexadecimal digits.
Bytes from_hex(std::string_view text);

/// CRC-32 of IEEE 802.3 (reflected, polynomial 0xEDB88320), as GPT headers use it (UEFI 2.10, 5.3.2).
std::uint32_t crc32(std::span<const std::byte> bytes);

inline std::span<const std::byte> as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace dupengine
