#pragma once
// Makes the filesystem of a GrowStep as large as its place: with the field's own programs on a lent range,
// or, where there are none that would do, through the guard. Nothing outside the place is written. Used
// between verification and the boot structures. One way for each filesystem: grow_NAME.cc.

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "engine/plan.h"

namespace dupengine::engine {

/// What a filesystem needs here to become larger or smaller; for `doctor`.
struct Needs {
    std::string filesystem;
    std::vector<const char*> programs;
    const char* packages;
};
std::vector<Needs> needs_of_growing();

/// Whether there is a way for filesystems of this type (as libblkid names it). Pure.
bool can_grow(std::string_view filesystem);

/// Throws kTargetIo with the program's complaint. A request to stop kills the program (the marks of an
/// unfinished copy stand, or come back: the next run begins anew) and is thrown as kInterrupted.
void grow_filesystem(const CopyPlan& plan, block::Target& target, const std::stop_token& stop);
/// Throws kUnsupported if a program, loop devices or what the kernel has to know are missing. For before the
/// first write; nothing if nothing grows.
void refuse_if_growing_is_impossible(const CopyPlan& plan, const block::Reader& source,
                                     const block::Reader& target);

}  // namespace dupengine::engine
