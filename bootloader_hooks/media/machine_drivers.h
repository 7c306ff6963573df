#pragma once
// The drivers that the devices of this machine ask for, whether or not they are loaded. Looks only.

#include <string>
#include <vector>

namespace dupengine::boot {

/// Modules of this kernel (/lib/modules/VERSION) by name, without those that they need in turn, and without
/// what a system that copies disks does not need: graphics, sound, cameras. `sys`: tests have their own.
/// Throws kUnsupported if kmod is not installed, or no device asks for any.
std::vector<std::string> find_machine_drivers(const std::string& version, const std::string& sys = "/sys");

}  // namespace dupengine::boot
