#pragma once
// Deals an extent set out to several workers, one chunk at a time. A chunk is what of the set lies between
// two multiples of the chunk size; chunks are numbered in order. Safe from any thread.

#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/aligned_buffer.h"
#include "block/extent.h"

namespace dupengine::engine {

struct Chunk {
    std::size_t number = 0;
    ByteOffset base = 0;  ///< the multiple of the chunk size that it begins in
    std::vector<block::Extent> extents;
};

class ChunkDealer {
  public:
    ChunkDealer(const block::ExtentSet& extents, std::uint64_t chunk_bytes);
    std::optional<Chunk> next();

  private:
    std::mutex mutex_;
    const block::ExtentSet& extents_;
    std::uint64_t chunk_bytes_;
    std::vector<block::Extent>::const_iterator at_;
    ByteOffset position_ = 0;
    std::size_t number_ = 0;
};

std::size_t count_chunks(const block::ExtentSet& extents, std::uint64_t chunk_bytes);

/// Calls `work(chunk, buffer)` for every chunk from `workers` threads (the caller's is one of them), each
/// with a buffer of chunk_bytes. The first exception stops the dealing and is thrown again here when all
/// workers have ended.
void for_each_chunk(const block::ExtentSet& extents, std::uint64_t chunk_bytes, unsigned workers,
                    std::stop_token stop,
                    const std::function<void(const Chunk&, std::span<std::byte> buffer)>& work);

}  // namespace dupengine::engine
