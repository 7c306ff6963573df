#pragma once
// What a disk, partition, loop device or file is made of, down to the bottom: a partition of its disk, a loop
// device of its file, a mapped device (dm, md) of its parts. Private to layout/. Pure apart from what
// BlockGraph reads.

#include <vector>

#include "layout/block_graph.h"

namespace dupengine::layout {

struct Place {
    block::PathIdentity where;
    block::Extent range;   ///< of `where`; holds all the bytes of what was asked for
    bool partial = false;  ///< only some bytes of the range belong to it, nobody knows which (below dm or md)
};

enum class Mapped {
    kStop,   ///< goes no deeper than a mapped device
    kFollow  ///< its parts too, as partial places
};

/// What `what` is made of, itself first.
std::vector<Place> lineage(const block::PathIdentity& what, const BlockGraph& graph, Mapped mapped);

/// All of a storage whose size is of no interest.
inline constexpr block::Extent kAllBytes = {0, std::uint64_t{1} << 63};

}  // namespace dupengine::layout
