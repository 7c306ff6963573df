#pragma once
// Tells the files of a store what of them an image is going to be read from, so that those that are far away
// can be on their way: in the order of the plan while that is followed, and what a reader found out that it
// lacks. Chunks that lie near to each other in a pack are asked for as one. From any thread.

#include <deque>
#include <mutex>

#include "block/extent.h"
#include "image/chunk_list.h"
#include "image/pack_cache.h"

namespace dupengine::image {

class ChunkAhead {
  public:
    /// All outlive it. What `cache`, if not null, may have is not asked for.
    ChunkAhead(const Files& files, const ChunkMap& map, const PackCache* cache);

    /// What is going to be read, about in order.
    void expect(block::ExtentSet data);
    /// That of what is expected this is being read now: what follows is next.
    void reading(ByteOffset offset);
    /// That something of what is expected was there already: what follows may be, too.
    void spared();
    /// That this chunk is going to be read; told with others.
    void lacks(std::uint64_t chunk);
    /// Tells it: now it is read.
    void tell_lacking();
    /// That these chunks are being read.
    void tell(std::uint64_t first, std::uint64_t count) const;

  private:
    struct Piece {
        std::uint32_t pack = 0;
        ByteOffset begin = 0, end = 0;
    };
    void add(std::vector<Piece>& pieces, std::uint64_t chunk) const;
    std::uint64_t tell(std::vector<Piece> pieces) const;
    bool go_ahead();

    const Files& files_;
    const ChunkMap& map_;
    const PackCache* cache_;
    std::mutex mutex_;
    block::ExtentSet expected_;
    ByteOffset next_ = 0;  // of what is expected nothing before this has to be told any more
    struct Told {
        ByteOffset end = 0;  // of a stretch of the disk
        std::uint64_t bytes = 0;
    };
    std::deque<Told> ahead_;  // stretches that have not been read, in order
    std::uint64_t ahead_bytes_ = 0;
    std::uint64_t window_;  // how many there may be
    std::vector<std::uint64_t> lacking_;
};

}  // namespace dupengine::image
