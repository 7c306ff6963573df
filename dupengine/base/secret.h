#pragma once
// Bytes that nobody may find in memory later: keys and passphrases. Overwritten when they are no longer
// needed. Never copied, never formatted. Used from one thread.

#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "base/bytes.h"

namespace dupengine {

class Secret {
  public:
    explicit Secret(std::size_t size) : size_(size), data_(std::make_unique<std::byte[]>(size)) {}
    Secret(Secret&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(std::move(other.data_)) {}
    Secret& operator=(Secret&&) = delete;
    ~Secret() {
        if (data_ != nullptr) ::explicit_bzero(data_.get(), size_);
    }

    std::size_t size() const { return size_; }
    std::span<std::byte> all() { return {data_.get(), size_}; }
    std::span<const std::byte> all() const { return {data_.get(), size_}; }
    char* chars() { return reinterpret_cast<char*>(data_.get()); }
    const char* chars() const { return reinterpret_cast<const char*>(data_.get()); }
    /// Gives up what is behind the first `size` bytes.
    void shorten(std::size_t size) {
        if (size >= size_) return;
        ::explicit_bzero(data_.get() + size, size_ - size);
        size_ = size;
    }

  private:
    std::size_t size_;
    std::unique_ptr<std::byte[]> data_;
};

}  // namespace dupengine
