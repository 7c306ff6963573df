#pragma once
// The mark of a copy that has begun and not ended. It stands where the partition table will be, at both ends
// of the target, so that no firmware or kernel takes a half-written disk for a good one, and so that the next
// run finds what it must still protect although there is no table. Integers little-endian:
//
//   offset  size  field
//   0       16    magic "DUPENGINE-UNDONE"
//   16      4     format version, 1
//   20      4     size of the text in bytes
//   24      32    SHA-256 of the text
//   56      ...   text: JSON, an object with source, started (Unix seconds), size_bytes, protected: [...],
//   and
//                 journal: {...} if there is one
//
// The first sector of the disk is zeroed; the mark begins at the second sector, and again where GPT's backup
// area is: 33 sectors of 512 bytes or 5 of 4096 before the end. See engine/apply.cc for the order of writes.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "codec/digest.h"
#include "layout/partition_table.h"

namespace dupengine::layout {

struct IncompleteMark {
    struct Kept {
        std::string name;  ///< as in ProtectedRegions
        block::Extent extent;
        std::optional<Partition> entry;  ///< the table entry that comes back at the end, if it has one
    };
    /// Where the copy's journal stands (engine/journal.h), and what it is the journal of.
    struct Journal {
        block::Extent place;
        codec::Sha256 id{};      ///< in each of its blocks: those of an older one do not count
        codec::Sha256 plan{};    ///< of what is copied, and in which chunks
        codec::Sha256 source{};  ///< of what shows that the source is still the same
        bool operator==(const Journal&) const = default;
    };
    std::string source;            ///< for a person
    std::int64_t started = 0;      ///< Unix seconds
    std::uint64_t size_bytes = 0;  ///< of the disk it was written to; a mark of another size is not ours
    /// Of the disk that is being made. Not written: a mark stands where only a mark for these sectors does.
    std::uint32_t sector_bytes = 0;
    std::vector<Kept> kept;
    std::optional<Journal> journal;  ///< none, too, if it is written in a way that is not known here
};

/// Room that a mark may take at each end: a GPT header's sector and 128 entries, so 33 sectors of 512 bytes
/// or 5 of 4096. Never more: a protected partition may begin or end right there.
std::uint64_t mark_room_bytes(std::uint32_t sector_bytes);
/// Both throw kRefused if the disk is too small to hold its first sector and both marks.
block::Extent mark_extent_head(const block::Geometry& geometry);
block::Extent mark_extent_tail(const block::Geometry& geometry);

/// Exactly mark_room_bytes long. Throws kRefused if there are more kept regions than fit.
Bytes encode_mark(const IncompleteMark& mark, std::uint32_t sector_bytes);
/// The mark at the end of the disk (written first and removed last), else the one at the start; empty if
/// neither is there whole. Throws only what reading throws, whatever it finds.
std::optional<IncompleteMark> find_mark(const block::Reader& disk);

}  // namespace dupengine::layout
