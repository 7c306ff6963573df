#pragma once
// What was written to a disk that is followed while it is copied, since it was asked for before.

#include "block/extent.h"

namespace dupengine::block {

struct Changes {
    ExtentSet extents;
    bool is_last = false;  ///< none follow: what these held at one moment can be read now, and nothing else
};

}  // namespace dupengine::block
