#pragma once
// Room for pages of memory, from the kernel, that costs nothing until it is used.
//
// Used by one thread.

#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace dupengine::machine {

class PageRoom {
  public:
    /// Throws kUnsupported if there is no such room.
    explicit PageRoom(std::uint64_t pages);
    ~PageRoom();
    PageRoom(const PageRoom&) = delete;
    PageRoom& operator=(const PageRoom&) = delete;

    std::uint64_t pages() const { return pages_; }
    std::span<std::byte> all() const { return {bytes_, bytes_all_}; }
    std::span<std::byte> page(std::uint64_t number) const;
    /// What these pages hold is gone, and so is what they cost.
    void forget(std::uint64_t first, std::uint64_t count);

  private:
    std::byte* bytes_ = nullptr;
    std::size_t bytes_all_ = 0;
    std::uint64_t pages_;
};

}  // namespace dupengine::machine
