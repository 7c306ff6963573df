#pragma once
// The journal of a copy: which chunks are on the target's medium, flushed, and with which digest. It stands
// in the target's free space, where the incomplete mark says, and is zeroed when all is copied and verified.
// So the next run after a kill or a power cut reads those chunks back on the target and compares the digest,
// instead of reading the source and writing again (resume.h). A journal is a help and no authority: what it
// names is read again by whoever relies on it, and a block of it that is torn, foreign or missing costs only
// that chunks are copied or compared as if there was none.
//
// A block names 248 chunks and has two places; each new version of it goes to the place of the older one, so
// that a torn write leaves the version before. A block is written after the flush that made its chunks
// durable, and is itself durable with the next one. A block of 4096 bytes, integers little-endian:
//
//   offset  size  field
//   0       16    magic "DUPENGINE-RESUME"
//   16      32    SHA-256 of all that follows
//   48      4     format version, 1
//   52      4     number of the block: chunk number / 248
//   56      8     version of this block, from 1; its lowest bit says in which of the two places it stands
//   64      32    id of the journal, as in the mark
//   96      32    a bit for each chunk, lowest first: its digest is there
//   128     3968  digests, XXH3-128 of the chunk's bytes (chunk_bytes.h), low half first
//
// Any thread may tell of chunks; one of them writes, from time to time.

#include <array>
#include <chrono>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "engine/pipeline.h"

namespace dupengine::engine {

inline constexpr std::size_t kJournalBlockBytes = 4096;
inline constexpr std::size_t kChunksOfABlock = 248;

struct JournalBlock {
    std::uint32_t number = 0;
    std::uint64_t version = 0;
    std::array<std::optional<codec::Xxh128>, kChunksOfABlock> digests;
};

Bytes encode_journal_block(const JournalBlock& block, const codec::Sha256& id);
/// Empty unless it is whole and of this journal. Throws nothing, whatever the bytes are.
std::optional<JournalBlock> decode_journal_block(std::span<const std::byte> bytes, const codec::Sha256& id);

/// The room that a journal of this many chunks takes, and where one version of a block stands in it.
std::uint64_t journal_bytes(std::size_t chunks);
ByteOffset journal_block_offset(std::size_t block, std::uint64_t version);

struct JournalContent {
    ChunkDigests chunks;                  ///< was_equal: the journal names the chunk
    std::vector<std::uint64_t> versions;  ///< of each block, 0: none
};
/// One of so many chunks that names none.
JournalContent no_journal(std::size_t chunks);
/// What is in a place of journal_bytes(chunks). Throws what reading throws.
JournalContent read_journal(const block::Reader& disk, const layout::IncompleteMark::Journal& where,
                            std::size_t chunks);

class Journal {
  public:
    /// `known` is what is there and was found to be true. `pace`: the shortest time between two records; it
    /// gets longer where flushing takes long, so that at most 1 % of the time goes into it. 0: a record for
    /// every chunk.
    Journal(block::Target& target, const layout::IncompleteMark::Journal& where, const JournalContent& known,
            std::chrono::milliseconds pace);

    /// A chunk has been written; may flush and write blocks. `digests` are those of all chunks: the one of
    /// this chunk is made, and stays. From any thread.
    void chunk_written(std::size_t chunk, const std::vector<codec::Xxh128>& digests);
    /// Flushes, and writes down all that was told of. For a copy that ends half-way, when no other thread is
    /// at work any more; does nothing where flushing takes long.
    void record_before_stopping(const std::vector<codec::Xxh128>& digests);
    /// The same, when all has been written and flushed.
    void record_flushed(const std::vector<codec::Xxh128>& digests);
    /// Makes the place zero, flushes, and reads it back. Returns its size. Throws kIntegrity, kInterrupted.
    std::uint64_t erase(block::Device::Zeroing how, const std::stop_token& stop);

  private:
    using Clock = std::chrono::steady_clock;
    void record(const std::vector<codec::Xxh128>& digests);
    void write_blocks(std::vector<std::size_t> durable, const std::vector<codec::Xxh128>& digests);

    block::Target& target_;
    layout::IncompleteMark::Journal where_;
    std::chrono::milliseconds pace_;
    std::mutex mutex_;  // of the next four
    std::vector<std::size_t> written_;
    bool recording_ = false;
    Clock::time_point next_record_;
    Clock::duration last_flush_{};
    // Of whoever records.
    std::vector<std::uint8_t> durable_;
    std::vector<std::uint64_t> versions_;
};

}  // namespace dupengine::engine
