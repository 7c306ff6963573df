#pragma once
// What was written to a disk that is followed while it is copied, since it was asked for before.

#include <cstddef>

#include "block/extent.h"

namespace dupengine::block {

/// The most extents of one answer: where more places were written, what lies between them is named, too.
inline constexpr std::size_t kMostChanges = std::size_t{256} * 1024;

struct Changes {
    ExtentSet extents;
    bool is_last = false;  ///< none follow: what these held at one moment can be read now, and nothing else
};

}  // namespace dupengine::block
