#pragma once
// Which version of which images a machine was made from, so that an older one, with the holes that were
// mended since, is not put back unnoticed. It lies in the profile partition behind the two slots of the
// profile, so it survives every copy. Two records, of which an update always writes the one that is not the
// newest good one; the first one writes both. So one that cannot be read or believed beside a good one may
// have been the newest, and what the good one says is in doubt. A partition of less than kHistoryEnd bytes
// has no room for it.
//
// Record 0 at byte 2 MiB, record 1 at byte 2 MiB + 4096, both of 4096 bytes, integers little-endian:
//
//   offset  size  field
//   0       16    magic "DUPENGINE-IMAGES"
//   16      4     format version, 2
//   20      4     number of entries, at most 38
//   24      8     generation, from 1; the good record with the larger one is the newest
//   32      32    SHA-256 of the record with these 32 bytes zero
//   64      104   each entry: name (64 bytes, filled up with zeros), version (8), when in Unix seconds (8),
//   and
//                 the versions that were tried, came up and failed last (8 each; 0: none)
//
// The entry used last comes first; the one that was not used for longest goes when there is no room.

#include <optional>
#include <string>
#include <vector>

#include "block/guard.h"
#include "profiles/slots.h"

namespace dupengine::profiles {

inline constexpr std::uint64_t kHistoryRecordBytes = 4096;
inline constexpr std::uint64_t kHistoryEnd = kStoreMinimumBytes + 2 * kHistoryRecordBytes;
inline constexpr std::size_t kHistoryNameLimit = 64;
inline constexpr std::size_t kHistoryEntryLimit = 38;

struct ImageHistory {
    struct Entry {
        std::string name;
        std::uint64_t version = 0;  ///< that was put there last
        std::int64_t when = 0;
        std::uint64_t tried = 0;    ///< whose starts are counted, until it comes up
        std::uint64_t came_up = 0;  ///< the last one that did
        std::uint64_t failed = 0;   ///< the last one that had no tries left

        /// What became of `version` from here on; false if that was known already.
        bool note_tried();
        bool note_came_up();
        /// Only of one whose starts were counted.
        bool note_failed();
        /// Whether a machine had this version, and it did not come up.
        bool is_bad(std::uint64_t other) const { return other == failed && other != came_up; }
        /// Whether this older version is the one to go back to, because what was put there since failed.
        bool is_way_back(std::uint64_t other) const { return other == came_up && is_bad(version); }
        bool operator==(const Entry&) const = default;
    };
    std::uint64_t generation = 0;  ///< 0: nothing was written yet
    std::vector<Entry> entries;
    unsigned record = 1;  ///< where it was found
    std::string doubt;    ///< why it may be that there was a newer one; empty: there was none

    /// The version of the image of this name that was put there last; empty if none was.
    std::optional<std::uint64_t> version_of(const std::string& name) const;
    /// Null if there was none of this name.
    const Entry* find(const std::string& name) const;
    /// What became of its versions is kept.
    void remember(const std::string& name, std::uint64_t version, std::int64_t when);
};

/// Empty if the region has no room. Throws nothing for what it finds there: see ImageHistory::doubt.
std::optional<ImageHistory> read_history(const block::Reader& device, block::Extent region);

/// Writes the history over the older record, flushes, and reads it back; then over the other one, too, the
/// first time and if there was a doubt, which ends with that. Throws kTargetIo; kIntegrity if it
/// came back different; kRefused if the region has no room.
void write_history(block::Target& target, block::Extent region, ImageHistory history);

/// The kHistoryRecordBytes bytes of a record.
Bytes encode_history(const ImageHistory& history);
/// Empty unless all of the record is as above.
std::optional<ImageHistory> decode_history(std::span<const std::byte> bytes);

}  // namespace dupengine::profiles
