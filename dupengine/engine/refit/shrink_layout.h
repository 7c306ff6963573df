#pragma once
// Where partitions go on a disk that is too small for them as they are. They keep their order; each stays
// where it is, or moves towards the front, and only as far as it must; as few as possible become smaller, by
// as little as possible. Pure arithmetic.

#include <optional>
#include <vector>

#include "block/extent.h"

namespace dupengine::engine {

struct Place {
    block::Extent extent;           ///< on the source
    std::uint64_t least_bytes = 0;  ///< how small it can be made; its size where it cannot
    bool movable = true;
};

struct Room {
    block::Extent usable;            ///< of the target, for partitions
    block::ExtentSet obstacles;      ///< what stays there
    std::uint64_t alignment = kMiB;  ///< of what moves, and of sizes that change
};

/// The places of partitions of these sizes, as far behind as their old ones allow; empty if they don't fit.
/// `places` ascend and don't overlap; `sizes` are theirs, in the same order.
std::optional<std::vector<block::Extent>> lay_out(const std::vector<Place>& places, const Room& room,
                                                  const std::vector<std::uint64_t>& sizes);

/// The same with the largest sizes that fit: those with the most to give are made smaller, each in proportion
/// to that. Empty if even the least sizes don't fit.
std::optional<std::vector<block::Extent>> fit_places(const std::vector<Place>& places, const Room& room);

/// The least end of room.usable with which they would fit; empty if no end would do, because of an obstacle
/// or of something that cannot move.
std::optional<ByteOffset> least_end(const std::vector<Place>& places, const Room& room);

}  // namespace dupengine::engine
