#pragma once
// Bytes that nobody may find in memory later: keys and passphrases. In pages of their own, which are not
// swapped out (where this user may lock memory), not dumped and not inherited by children; overwritten when
// they are no longer needed. Never copied, never formatted. Used from one thread.

#include <span>
#include <utility>

#include "base/bytes.h"

namespace dupengine {

class Secret {
  public:
    /// Throws kRefused if there is no memory.
    explicit Secret(std::size_t size);
    Secret(Secret&& other) noexcept
        : size_(std::exchange(other.size_, 0)),
          room_(std::exchange(other.room_, 0)),
          data_(std::exchange(other.data_, nullptr)) {}
    Secret& operator=(Secret&&) = delete;
    ~Secret();

    std::size_t size() const { return size_; }
    std::span<std::byte> all() { return {data_, size_}; }
    std::span<const std::byte> all() const { return {data_, size_}; }
    char* chars() { return reinterpret_cast<char*>(data_); }
    const char* chars() const { return reinterpret_cast<const char*>(data_); }
    /// Gives up what is behind the first `size` bytes.
    void shorten(std::size_t size);

  private:
    std::size_t size_;
    std::size_t room_;  // of the mapping
    std::byte* data_;
};

/// From here on this process leaves no memory behind when it dies, and no other process of its user looks
/// into it: libraries that were given a key keep what they make of it wherever they like.
void forbid_core_dumps();

}  // namespace dupengine
