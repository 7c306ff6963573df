#pragma once
// A GUID as GPT and UEFI store it (UEFI 2.10, appendix A). A value type that needs no library behind it;
// base/guid.h is the one of everything else.

#include <array>
#include <cstddef>
#include <cstdint>

namespace dupengine::efi {

struct alignas(8) Guid {
    std::array<std::uint8_t, 16> bytes{};  ///< in on-disk order
    constexpr bool operator==(const Guid&) const = default;
};

/// From the fields as specifications print them: {0x8be4df61, 0x93ca, 0x11d2, {0xaa, 0x0d, ...}}.
constexpr Guid guid(std::uint32_t a, std::uint16_t b, std::uint16_t c, std::array<std::uint8_t, 8> d) {
    Guid result;
    for (std::size_t i = 0; i < 4; ++i)
        result.bytes[i] = static_cast<std::uint8_t>(a >> (8 * i));
    for (std::size_t i = 0; i < 2; ++i) {
        result.bytes[4 + i] = static_cast<std::uint8_t>(b >> (8 * i));
        result.bytes[6 + i] = static_cast<std::uint8_t>(c >> (8 * i));
    }
    for (std::size_t i = 0; i < 8; ++i)
        result.bytes[8 + i] = d[i];
    return result;
}

}  // namespace dupengine::efi
