#pragma once
// What became of the image that a machine starts, as `dupengine boot` notes it.

#include <string>
#include <vector>

namespace dupengine::cli {

/// On these disks, or those that this system runs from. Returns which images that was new of: "web@2"; empty:
/// none. Throws as profiles::note_came_up().
std::string note_that_it_came_up(const std::vector<std::string>& disks);

}  // namespace dupengine::cli
