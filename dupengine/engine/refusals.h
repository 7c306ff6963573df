#pragma once
// The refusals that only the running system can answer: who uses the two disks, and whether they are one.
// Checked before planning, and (for the target) again when it has been opened. Never opens for writing.

#include <span>
#include <string>
#include <vector>

#include "layout/in_use.h"

namespace dupengine::engine {

enum class BusySource { kRefuse, kAccept };

/// Throws kRefused if the target is used by anything, or is the source by another name, or (unless accepted)
/// if the source is mounted or used as swap, because its content would change under the copy. The message
/// names every use. Returns notes for the plan: uses of the source that were accepted.
std::vector<std::string> refuse_if_in_use(const std::string& source, const std::string& target,
                                          BusySource busy, const layout::SystemRoots& roots = {});

/// SOURCE and TARGET as they are named on the command line. An empty source is none of this machine: only the
/// target can be in use.
struct PathPair {
    std::string source, target;
};

/// Throws kRefused if the source is mounted or used as swap, unless that is accepted; then it is a note.
std::vector<std::string> refuse_if_changing(const std::string& source, BusySource busy,
                                            const layout::SystemRoots& roots = {});

/// The same for the disks of a set: their notes, by pair. Refuses as well, by any names, a target that is the
/// target or the source of another pair.
std::vector<std::vector<std::string>> refuse_if_in_use(std::span<const PathPair> pairs, BusySource busy,
                                                       const layout::SystemRoots& roots = {});

/// What changes the content of the source now (mounts, swap), as a person reads it; empty if nothing does.
std::string name_changing_uses(const std::string& source, const layout::SystemRoots& roots = {});

}  // namespace dupengine::engine
