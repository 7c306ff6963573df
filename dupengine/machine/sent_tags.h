#pragma once
// What was given away of a disk, remembered by keyed digests (codec/keyed_digest.h): 16 bytes for each piece
// of 64 KiB, and where a partition table lies for each of 4 KiB, because what is written beside a table is no
// new table. What was never given away takes no memory.
//
// Threads: from any; divide_finely() before all others.

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "block/extent.h"
#include "codec/keyed_digest.h"

namespace dupengine::machine {

class SentTags {
  public:
    static constexpr std::uint64_t kPiece = 64 * 1024, kFinePiece = 4 * 1024;
    /// What `bytes` of a disk need at most.
    static std::uint64_t memory_for(std::uint64_t bytes);

    /// Of a disk of this size. note() throws kUnsupported when `most_memory` bytes do not suffice.
    SentTags(std::uint64_t size_bytes, std::uint64_t most_memory);
    void divide_finely(const block::ExtentSet& tables);

    /// These pieces were given away like this. One that was given away otherwise before is of no known
    /// content at the other end: it differs from whatever the disk holds. `offset` is a multiple of kPiece.
    void note(ByteOffset offset, std::span<const std::byte> bytes, codec::KeyedDigest& digest);
    /// The pieces that this touches were never given away.
    void forget(const block::ExtentSet& extents);
    /// Which of these pieces are not what was given away, with those of `used` that never were. They are
    /// forgotten.
    block::ExtentSet take_different(ByteOffset offset, std::span<const std::byte> bytes,
                                    codec::KeyedDigest& digest, const block::ExtentSet& used);
    /// In whole pieces of kPiece.
    block::ExtentSet noted() const;

  private:
    using Tag = codec::KeyedDigest::Tag;
    // Of 64 MiB.
    using Region = std::array<Tag, 1024>;
    using Fine = std::array<Tag, kPiece / kFinePiece>;
    struct Piece {
        block::Extent extent;
        Tag* tag = nullptr;  // null: never noted
    };
    std::vector<Piece> pieces_of(std::uint64_t slot, bool is_made);
    Region* region_of(std::uint64_t slot, bool is_made);

    std::uint64_t size_bytes_, most_regions_, region_count_ = 0;
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Region>> regions_;
    std::map<std::uint64_t, Fine> fine_;  // by the number of the piece of kPiece
};

}  // namespace dupengine::machine
