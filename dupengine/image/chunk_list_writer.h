#pragma once
// Writes the lists and places of an image while its chunks come in, in any order, from several threads.
// Memory: the lists that chunks are under way for.

#include <map>
#include <mutex>

#include "block/extent.h"
#include "image/chunk_list.h"
#include "image/new_file.h"

namespace dupengine::image {

class ChunkListWriter {
  public:
    /// For a disk as `manifest` says. Every chunk that `data` touches will be put once, and no other. `base`
    /// is a path.
    ChunkListWriter(const Manifest& manifest, const block::ExtentSet& data, const std::string& base);

    /// From any thread.
    void put(std::uint64_t chunk, const codec::Sha256& digest, const Place& place);
    /// When all was put: the lists, for the manifest. The files are in their places.
    std::vector<Manifest::List> finish(const std::vector<PackId>& packs);

  private:
    struct Open {
        ChunkList list;
        std::uint64_t missing = 0;
    };
    void write_complete_ones();

    std::uint32_t chunk_bytes_, chunks_per_list_;
    std::mutex mutex_;
    std::map<std::uint64_t, std::uint64_t> expected_;  // by number of the list: how many chunks
    std::map<std::uint64_t, Open> open_;
    NewFile lists_file_, places_file_;
    std::vector<Manifest::List> lists_;
};

}  // namespace dupengine::image
