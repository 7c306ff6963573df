#pragma once
// A GUID as GPT and UEFI store it: 16 bytes, the first three fields little-endian (UEFI 2.10, appendix A).
// Text is always the canonical lower-case form. A value type; never reads randomness by itself.

#include <array>
#include <compare>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace dupengine {

struct Guid {
    std::array<std::byte, 16> bytes{};  ///< in on-disk order

    auto operator<=>(const Guid&) const = default;  // NOLINT(modernize-use-nullptr): its expansion
    bool is_null() const { return is_zero(bytes); }
    std::string text() const;

    /// "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", either case. Throws kUsage on anything else.
    static Guid parse(std::string_view text);
    /// 16 bytes in on-disk order.
    static Guid from_disk(std::span<const std::byte> bytes);
    /// Makes a version 4 (random, RFC 9562 5.4) GUID of 16 random or derived bytes.
    static Guid from_entropy(std::span<const std::byte, 16> entropy);
};

}  // namespace dupengine
