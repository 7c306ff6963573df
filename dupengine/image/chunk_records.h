#pragma once
// What is known of each chunk of a disk between the two times that it is read for a tar: 48 bytes a chunk, in
// a scratch file, because in memory they would grow with the disk.

#include <functional>

#include "block/scratch_file.h"
#include "codec/digest.h"

namespace dupengine::image {

struct ChunkRecord {
    codec::Sha256 sha256{};              ///< zero: the chunk is
    std::uint32_t bytes = 0;             ///< of its stored form
    std::uint32_t pack = 0, offset = 0;  ///< where it is to be stored
    bool compressed = false;
    bool comes_first = false;  ///< in front of all those in the order of the disk
    bool repeats = false;      ///< it is stored for an earlier chunk, and `pack`, `offset` name that
    bool unused = false;

    bool is_zero() const { return sha256 == codec::Sha256{}; }
    std::uint64_t repeated() const { return std::uint64_t{pack} << 32 | offset; }
    void repeat(std::uint64_t chunk) {
        repeats = true;
        pack = static_cast<std::uint32_t>(chunk >> 32);
        offset = static_cast<std::uint32_t>(chunk);
    }
};
static_assert(sizeof(ChunkRecord) == 48);

class ChunkRecords {
  public:
    /// For the chunks that `data` touches. Throws kRefused if there is no room for them.
    ChunkRecords(const block::ExtentSet& data, std::uint32_t chunk_bytes);

    /// From any thread, while nothing else is done.
    void put(std::uint64_t chunk, const ChunkRecord& record) const;
    /// Also from within for_each. One thread at a time.
    ChunkRecord get(std::uint64_t chunk);
    void replace(std::uint64_t chunk, const ChunkRecord& record);
    /// As ScratchFile::settle.
    void settle() const { file_.settle(); }
    /// All of them in the order of the disk, zeros too. What `visit` changes is kept.
    void for_each(const std::function<void(std::uint64_t chunk, ChunkRecord& record)>& visit);

  private:
    ChunkRecord* in_block(std::uint64_t chunk);
    block::ExtentSet chunks_;  // numbers of chunks
    block::ScratchFile file_;
    std::uint64_t block_begin_ = 0;
    std::vector<ChunkRecord> block_;  // those being visited
};

}  // namespace dupengine::image
