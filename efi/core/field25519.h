#pragma once
// Numbers modulo 2^255 - 19, the field of Ed25519 (RFC 8032, 5.1). All that is computed with them here is
// public, so the time it takes may depend on them. Pure.

#include <array>

#include "efi/core/bytes.h"

namespace dupengine::efi {

class Field {
  public:
    static constexpr std::size_t kBytes = 32;
    using Encoded = std::array<std::byte, kBytes>;

    constexpr Field() = default;
    constexpr explicit Field(std::uint32_t small) : limbs_{small} {}
    /// Of 255 bits, little-endian; the highest bit of `bytes` is no part of it.
    static Field decode(const Encoded& bytes);

    /// The one number from 0 to 2^255 - 20 that it is.
    Encoded encode() const;
    bool is_odd() const { return (encode()[0] & std::byte{1}) != std::byte{0}; }
    bool operator==(const Field& other) const { return encode() == other.encode(); }

    Field operator+(const Field& other) const;
    Field operator-(const Field& other) const;
    Field operator*(const Field& other) const;
    Field operator-() const { return Field() - *this; }

    /// To the power of a number of this many bits, all of them 1 but for the lowest eight, which are `low`:
    /// all exponents that are needed are near a power of two.
    Field power(unsigned bits, std::uint8_t low) const;
    /// 1 divided by it; 0 for 0.
    Field inverse() const { return power(255, 0xeb); }  // 2^255 - 21

  private:
    void carry();

    // The number is the sum of limbs_[i] * 2^(51 i); after every operation they are below 2^52.
    std::array<std::uint64_t, 5> limbs_{};
};

}  // namespace dupengine::efi
