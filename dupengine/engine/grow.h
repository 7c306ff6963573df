#pragma once
// Makes the ext filesystem of a GrowStep as large as its place, with the field's own programs (e2fsck,
// resize2fs) on a lent range: nothing outside it can be written. Used between verification and the boot
// structures.

#include <string>

#include "engine/plan.h"

namespace dupengine::engine {

/// `path` is the target as the user named it. Throws kTargetIo with the program's complaint, kUnsupported if
/// a program is missing (check_grow_programs finds that before the first write).
void grow_filesystem(const std::string& path, const CopyPlan& plan);
void check_grow_programs();

}  // namespace dupengine::engine
