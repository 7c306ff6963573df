#pragma once
// The memory of another machine, as it comes: all zeros at first, groups of differences are swapped in, and
// when the end is there it is checked and given to the kernel.
//
// Used by one thread. It takes as much memory as it was given, and lets go of it while the kernel takes it.

#include "machine/memory_shape.h"
#include "machine/page_room.h"

namespace dupengine::machine {

class ReceivedMemory {
  public:
    /// Throws kPeer for a shape that no machine has, kUnsupported if there is no room for it.
    explicit ReceivedMemory(const MemoryShape& shape);

    /// As it came. Throws kIntegrity for what is no group, or passes the end of memory.
    void apply(std::span<const std::byte> group);

    /// Throws kIntegrity unless everything of the image is here, and as it was there.
    void check();
    /// Of the image, after check(); false: that was all. A page is given once.
    bool next_page(std::span<std::byte> page);
    const MemoryShape& shape() const { return shape_; }
    std::uint64_t image_pages() const { return image_.size(); }

  private:
    MemoryShape shape_;
    codec::PageTagger tagger_;
    PageRoom room_;
    std::vector<std::uint64_t> image_;  // numbers of its pages, in its order
    std::size_t next_ = 0;
};

}  // namespace dupengine::machine
