#pragma once
// Where the chunks of a disk go that is taken into an image.

#include <cstddef>
#include <cstdint>
#include <span>

namespace dupengine::image {

class ChunkSink {
  public:
    virtual ~ChunkSink() = default;
    /// One chunk, of kChunkBytes, whole; what of it is not captured, or lies behind the disk's end, is zero.
    /// From any thread, in any order.
    virtual void put(std::uint64_t chunk, std::span<const std::byte> bytes) = 0;
};

}  // namespace dupengine::image
