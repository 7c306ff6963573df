#pragma once
// Whether two machines hold the same bytes, told in 16 bytes: GMAC of AES-128 (NIST SP 800-38D) under a key
// that was drawn for this comparison and that only the two know. Whoever wrote the bytes could not know the
// key, and then two different pieces of 64 KiB have the same tag with a chance of at most 2^-115, whatever
// they are: GHASH is a universal hash. It is several times as fast as SHA-256, and as fast as memory where
// the processor has the instructions (wide_ghash.h). It says nothing to anybody who does not know the key,
// and nothing at all once the key is known: never keep a tag.
//
// One object is used by one thread at a time.

#include <array>
#include <cstddef>
#include <memory>
#include <span>

namespace dupengine::codec {

class KeyedDigest {
  public:
    using Key = std::array<std::byte, 16>;
    using Tag = std::array<std::byte, 16>;

    /// All ways give the same tags; a test names one.
    enum class Way { kFastest, kOpenSsl };
    explicit KeyedDigest(const Key& key, Way way = Way::kFastest);
    ~KeyedDigest();
    KeyedDigest(const KeyedDigest&) = delete;
    KeyedDigest& operator=(const KeyedDigest&) = delete;

    Tag of(std::span<const std::byte> bytes);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dupengine::codec
