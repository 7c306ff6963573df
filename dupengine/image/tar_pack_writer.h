#pragma once
// Reads chunks for the second time and puts them into a tar as packs, in the order in which they are added.
// Two threads read and compress a batch of them while the one before goes into the tar. Memory: two batches
// and a pack.

#include <future>
#include <vector>

#include "base/aligned_buffer.h"
#include "image/chunk_records.h"
#include "image/pack.h"
#include "image/tar.h"

namespace dupengine::image {

class TarPackWriter {
  public:
    using ReadChunks = std::function<void(std::uint64_t chunk, std::span<std::byte> bytes)>;
    /// `packs`: which ones will come. What is given outlives it.
    TarPackWriter(const ReadChunks& read, TarWriter& tar, std::span<const PackId> packs);
    ~TarPackWriter();
    TarPackWriter(const TarPackWriter&) = delete;
    TarPackWriter& operator=(const TarPackWriter&) = delete;

    /// Throws kIntegrity if the chunk is not as it was when its record was made; what reading and the tar
    /// throw.
    void add(std::uint64_t chunk, const ChunkRecord& record);
    /// Returns how many packs it wrote.
    std::size_t finish();

  private:
    struct Batch;
    void begin_batch();
    void read_run(Batch& batch, std::size_t first, std::size_t count) const;
    void read_all(Batch& batch) const;
    void put_into_packs(const Batch& batch);
    void end_pack();

    const ReadChunks& read_;
    TarWriter& tar_;
    std::span<const PackId> packs_;
    std::size_t written_ = 0;
    PackBuilder builder_;
    std::unique_ptr<Batch> filling_, under_way_;
    std::future<void> work_;  // on `under_way_`; waited for before that goes
};

}  // namespace dupengine::image
