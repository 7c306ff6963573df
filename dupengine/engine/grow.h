#pragma once
// Makes the ext filesystem of a GrowStep as large as its place, with the field's own programs (e2fsck,
// resize2fs) on a lent range: nothing outside it can be written. Used between verification and the boot
// structures.

#include <stop_token>

#include "engine/plan.h"

namespace dupengine::engine {

/// Throws kTargetIo with the program's complaint. A request to stop kills the program (the marks of an
/// unfinished copy stand, or come back: the next run begins anew) and is thrown as kInterrupted.
void grow_filesystem(const CopyPlan& plan, const block::Target& target, std::stop_token stop);
/// Throws kUnsupported if a program or loop devices are missing. For before the first write; nothing if
/// nothing grows.
void refuse_if_growing_is_impossible(const CopyPlan& plan, const block::Reader& target);

}  // namespace dupengine::engine
