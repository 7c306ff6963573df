#pragma once
// SHA-512 (FIPS 180-4), of which Ed25519 is made. As sha256.h, but in parts. Pure.

#include <array>

#include "efi/core/bytes.h"

namespace dupengine::efi {

class Sha512 {
  public:
    using Digest = std::array<std::byte, 64>;

    Sha512& add(Bytes bytes);
    /// Of all that was added; nothing can be added then.
    Digest finish();

  private:
    static constexpr std::size_t kBlockBytes = 128;
    void add_block(Bytes block);

    std::array<std::uint64_t, 8> state_ = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                           0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                           0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    std::array<std::byte, kBlockBytes> block_{};
    std::uint64_t size_bytes_ = 0;
};

}  // namespace dupengine::efi
