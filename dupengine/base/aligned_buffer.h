#pragma once
// A block of memory aligned to 4096 bytes, as direct I/O wants it. Content is undefined until written.

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include "base/bytes.h"

namespace dupengine {

class AlignedBuffer {
  public:
    explicit AlignedBuffer(std::size_t size)
        : size_(size), data_(static_cast<std::byte*>(std::aligned_alloc(kAlign, align_up(size, kAlign)))) {
        if (data_ == nullptr) throw std::bad_alloc();
    }
    std::size_t size() const { return size_; }
    std::span<std::byte> all() { return {data_.get(), size_}; }
    std::span<std::byte> first(std::size_t n) { return all().first(n); }

  private:
    static constexpr std::size_t kAlign = 4096;
    struct Free {
        void operator()(std::byte* p) const { std::free(p); }
    };
    std::size_t size_;
    std::unique_ptr<std::byte, Free> data_;
};

}  // namespace dupengine
