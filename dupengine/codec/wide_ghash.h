#pragma once
// GHASH (NIST SP 800-38D, 6.4), 32 blocks at a time, for processors with carry-less multiplication of wide
// vectors (VPCLMULQDQ with AVX-512). OpenSSL 3.0 takes 6 at a time, which is slower than a fast disk. Pure.

#include <array>
#include <cstddef>
#include <span>

namespace dupengine::codec {

class WideGhash {
  public:
    using Block = std::array<std::byte, 16>;
    static constexpr std::size_t kBlocksAtOnce = 32;

    /// Whether this processor has the instructions. Without them nothing else may be called.
    static bool is_to_be_had();
    /// `key` is the block of zeros, encrypted ("H").
    explicit WideGhash(const Block& key);
    /// Of bytes that are authenticated and not encrypted, padded with zeros to whole blocks, and of the block
    /// that tells their length.
    Block of(std::span<const std::byte> bytes) const;

  private:
    alignas(64) std::array<Block, kBlocksAtOnce> powers_{};  // of the key, the highest first
};

}  // namespace dupengine::codec
