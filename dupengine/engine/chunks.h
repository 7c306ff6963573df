#pragma once
// Deals an extent set out to several workers, one chunk at a time, and keeps several chunks of each under
// way: read, looked at, written. A chunk is what of the set lies between two multiples of the chunk size;
// chunks are numbered in order. Memory is workers x depth x areas x chunk size. The dealer is safe from any
// thread.

#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "block/guard.h"
#include "block/transfers.h"

namespace dupengine::engine {

struct Chunk {
    std::size_t number = 0;
    ByteOffset base = 0;  ///< the multiple of the chunk size that it begins in
    std::vector<block::Extent> extents;
};

std::uint64_t size_of(const Chunk& chunk);

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

/// One chunk on its way, and the memory for it.
class Slot {
  public:
    Slot(std::size_t number, std::span<std::byte> memory, unsigned areas, block::Transfers& transfers)
        : memory_(memory), areas_(areas), number_(number), transfers_(transfers) {}

    Chunk chunk;
    /// A read failed, and ChunkWork::read_failed said that: not all of the memory is filled.
    bool incomplete = false;
    /// For ChunkWork: area 1 is in use for this chunk.
    bool compares = false;
    /// For ChunkWork: area 0 has not been read yet.
    bool unread = false;
    /// For ChunkWork: which of its pieces the target held already, in order; empty: not known yet.
    std::vector<bool> is_held;
    /// The bytes of an extent of the chunk; `area` tells apart several memories of a chunk's size.
    std::span<std::byte> bytes_of(block::Extent extent, unsigned area = 0) const;

    /// Each of two areas becomes the other one.
    void swap_areas() { first_area_ ^= 1u; }
    /// For ChunkWork::look, before it started anything: it is called once more, when others have had their
    /// turn.
    void wait_a_turn() { stage_ = Stage::kReading; }

    void start_read(const block::Reader& from, block::Extent extent, block::Reader::From where,
                    unsigned area = 0);
    void start_write(block::Target& to, block::Extent extent);

  private:
    friend class Lane;
    enum class Stage { kFree, kReading, kWriting };
    std::span<std::byte> memory_;
    unsigned areas_;
    unsigned first_area_ = 0;
    std::size_t number_;
    block::Transfers& transfers_;
    Stage stage_ = Stage::kFree;
    unsigned under_way_ = 0;
};

/// How many chunks are under way, and how large.
struct Lanes {
    unsigned workers = 2;                ///< threads
    unsigned depth = 1;                  ///< chunks under way in each
    std::uint64_t chunk_bytes = kMiB;    ///< a power of two; chunks lie on multiples of it
    unsigned areas = 1;                  ///< memories that a chunk needs
    std::uint64_t bytes_per_second = 0;  ///< of all workers together; 0: as fast as they go
};

/// What happens to a chunk. Functions are called from all workers, for a chunk from one.
struct ChunkWork {
    /// Chunks that are left out: not read, not counted against the rate, not ended. Empty: none.
    std::function<bool(const Chunk&)> leaves_out = {};
    std::function<void(Slot&)> read;  ///< starts reads
    std::function<void(Slot&)> look;  ///< all has been read; may start writes
    std::function<void(Slot&)> end;   ///< all has been written
    /// A read failed with this; called within its handler. Returns if the chunk shall go on, and says in the
    /// slot what of it is missing. Without it every error is final.
    std::function<void(Slot&, const Error&)> read_failed = {};
};

/// Takes every chunk through `work`. The first exception stops the dealing and is thrown again here, when
/// nothing is under way any more; a request to stop is thrown as kInterrupted.
void for_each_chunk(const block::ExtentSet& extents, const Lanes& lanes, std::stop_token stop,
                    const ChunkWork& work);

}  // namespace dupengine::engine
