#pragma once
// The superblock and the newest checkpoint of F2FS (field names and places as in Linux' linux/f2fs_fs.h), and
// what they say of the segments' bitmaps. A pure reader: nothing is repaired, and whatever is damaged,
// unknown or not understood throws kIntegrity. Safe from any thread.

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "block/device.h"

namespace dupengine::layout {

inline constexpr std::uint64_t kF2fsBlock = 4096;         ///< bytes; the only size that is known
inline constexpr std::uint64_t kF2fsSegment = 512;        ///< blocks; the only size that is known
inline constexpr std::size_t kF2fsSitEntry = 2 + 64 + 8;  ///< count and type, bitmap, time

struct F2fsSuper {
    std::uint64_t blocks = 0;  ///< of the filesystem
    // First blocks of the areas, which follow each other without gaps.
    std::uint64_t checkpoints = 0, sit = 0, main = 0;
    std::uint64_t sit_blocks = 0;   ///< of one of the two copies of the segment information table
    std::uint64_t segments = 0;     ///< of the main area
    std::uint64_t zone_blocks = 0;  ///< it grows by whole zones
    std::uint64_t payload = 0;  ///< blocks of a checkpoint for a bitmap that does not fit in its first block
    std::string note;
};

struct F2fsCheckpoint {
    Bytes sit_versions;  ///< a bit for each block of the table: which copy is in force. First bit uppermost.
    std::map<std::uint64_t, std::array<std::byte, kF2fsSitEntry>>
        newer;  ///< entries that the table lacks yet
    std::uint64_t valid_blocks = 0, valid_nodes = 0;
};

F2fsSuper read_f2fs_super(const block::Reader& part);

/// The newer of the two that is whole. Throws unless it was written by unmounting and nothing was flushed
/// since: otherwise recovery finds blocks in segments that the table calls free.
F2fsCheckpoint read_f2fs_checkpoint(const block::Reader& part, const F2fsSuper& super);

}  // namespace dupengine::layout
