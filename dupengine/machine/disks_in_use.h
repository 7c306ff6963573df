#pragma once
// The disks that this machine runs from.

#include <string>
#include <vector>

namespace dupengine::machine {

/// Every whole disk under a mounted filesystem or swap, the one of the root filesystem first: what stands on
/// other devices (device-mapper, md, loop) is found as what it stands on. Disks that cannot be written are
/// left out. Throws as look_at_uses().
std::vector<std::string> find_disks_in_use();

}  // namespace dupengine::machine
