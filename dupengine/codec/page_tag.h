#pragma once
// What tells one page of memory from another in 8 bytes: NH (of UMAC, RFC 4418, on words of 64 bits), and of
// its sum a multilinear hash, with words made of a key that is drawn for each duplication. Programs that
// wrote the pages could not know it: whatever two different pages are, they have one tag with a chance of
// 2^-63. It is a multiplication for 16 bytes and no vector instruction, so it runs at the speed of memory,
// also where the processor is emulated: it is taken of all memory while everything is frozen. Both ends take
// it (on machines that are little-endian).
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
    // One for each word of a page, behind those for the end.
    static constexpr std::size_t kEndWords = 6, kWords = kEndWords + kLineBytes * kPageLines / 8;
    std::uint64_t tag(std::span<const std::byte> words) const;

    std::array<std::uint64_t, kWords> key_{};
    std::uint64_t zeros_ = 0;
};

}  // namespace dupengine::codec
