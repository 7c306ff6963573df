#pragma once
// Is an image whole: every chunk that it needs is there, and is what its digest says. Needs no target; writes
// nothing.

#include <stop_token>

#include "base/progress.h"
#include "block/device.h"

namespace dupengine::engine {

struct ImageCheck {
    std::uint64_t bytes_read = 0;      ///< of the disk, as it was before compressing
    block::ExtentSet damaged;          ///< of the disk: what cannot be given back
    std::vector<std::string> reasons;  ///< the first few of them, one line each

    bool sound() const { return damaged.empty(); }
};

/// Of an image, which reads at once. Throws kIntegrity where it cannot even be told what the image needs;
/// kInterrupted.
ImageCheck check_image(const block::Reader& image, Progress& progress, std::stop_token stop);

}  // namespace dupengine::engine
