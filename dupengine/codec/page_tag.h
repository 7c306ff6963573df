#pragma once
// What tells one page of memory from another in 8 bytes: XXH3 (64 bits) under a secret that is drawn for each
// duplication. Programs that wrote the pages could not know it, and by chance two different pages have one
// tag in 2^64. It runs at the speed of memory, also where the processor is emulated: it is taken of all
// memory while everything is frozen.
//
// Pure; from any thread.

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace dupengine::codec {

/// A page is told apart in lines, too: which of its lines changed is known from their tags alone.
inline constexpr std::size_t kLineBytes = 64;
inline constexpr std::size_t kPageLines = 64;
using LineTags = std::array<std::uint64_t, kPageLines>;

class PageTagger {
  public:
    using Key = std::array<std::byte, 32>;
    explicit PageTagger(const Key& key);
    /// Of one page (kPageBytes).
    std::uint64_t of(std::span<const std::byte> page) const;
    std::uint64_t of_zeros() const { return zeros_; }
    LineTags of_lines(std::span<const std::byte> page) const;

  private:
    std::array<std::byte, 192> secret_{};
    std::uint64_t zeros_ = 0;
};

}  // namespace dupengine::codec
