#pragma once
// Which images of a store need which of its stored chunks: what `inspect` tells of sharing and `image prune`
// keeps. Memory: fourteen bytes a stored chunk. One thread at a time.

#include <map>
#include <vector>

#include "image/pack.h"
#include "image/store.h"

namespace dupengine::image {

class ChunkUse {
  public:
    /// `files` outlives it.
    explicit ChunkUse(const Files& files) : files_(files) {}

    /// Notes all that an image needs. Throws kIntegrity if a pack of it is missing or has no such chunk.
    void add(const ChunkMap& image);

    struct Entry {
        std::uint32_t offset = 0, bytes = 0;
        bool compressed = false;
    };
    struct Pack {
        std::vector<Entry> entries;       // by offset
        std::vector<std::uint16_t> user;  ///< of each: 0 nobody, i the i-th image added alone, kSeveral
        std::uint64_t stored_bytes() const;
        std::uint64_t used_bytes() const;
    };
    static constexpr std::uint16_t kSeveral = 0xffff;
    /// Packs that images need; those that nobody needs are not here.
    const std::map<PackId, Pack>& packs() const { return packs_; }
    /// Stored bytes that only the `number`-th image added (from 1) needs.
    std::uint64_t bytes_of(std::uint16_t number) const;

  private:
    Pack& pack(const PackId& id);
    const Files& files_;
    std::map<PackId, Pack> packs_;
    std::uint16_t images_ = 0;
};

}  // namespace dupengine::image
