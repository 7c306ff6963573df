#pragma once
// Makes the ext filesystem of a GrowStep as large as its place, with the field's own programs (e2fsck,
// resize2fs) on a lent range: nothing outside it can be written. Used between verification and the boot
// structures.

#include <string>

#include "engine/plan.h"

namespace dupengine::engine {

/// Throws kTargetIo with the program's complaint.
void grow_filesystem(const CopyPlan& plan, const block::Target& target);
/// Throws kUnsupported if a program or loop devices are missing. For before the first write; nothing if
/// nothing grows.
void refuse_if_growing_is_impossible(const CopyPlan& plan, const block::Reader& target);

}  // namespace dupengine::engine
