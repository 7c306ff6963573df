#pragma once
// A source that is larger than its target, made to fit: not the source, which is never written, but a view of
// it. Partitions move towards the front, and ext, NTFS or btrfs filesystems become smaller in overlays
// (block/overlay.h), as few and as little as possible. The view is a disk like any other, with a table for
// the target's size: planning, copying and verifying go on with it.

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/plan.h"

namespace dupengine::engine {

struct Shrunk {
    std::vector<std::shared_ptr<const block::Reader>> parts;  ///< what the view reads from, beside the source
    std::unique_ptr<block::Reader> view;                      ///< null: the source fits as it is
    layout::DiskDescription before;                           ///< the source, if there is a view
    std::vector<std::string> notes;                           ///< what was changed, one line each
};

/// Writes nothing but temporary files. May take as long as checking the filesystems and moving what lies in
/// their tails. Throws kRefused with the numbers if it cannot fit, or a filesystem is not in order;
/// kUnsupported if this machine lacks a program; kInterrupted. `source` must outlive the result. What
/// make_plan refuses (a damaged table, a mark) is left to it.
Shrunk shrink_source(const block::Reader& source, const block::Reader& target, const CopyOptions& options,
                     Progress& progress, std::stop_token stop);

}  // namespace dupengine::engine
