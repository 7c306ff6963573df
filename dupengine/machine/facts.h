#pragma once
// What this machine is, as far as it decides what can be done with it. Reads /proc, /sys and /dev; the roots
// are parameters so that tests can show it made-up machines.

#include <cstdint>
#include <string>
#include <vector>

#include "layout/in_use.h"

namespace dupengine::machine {

struct Facts {
    std::string kernel;   ///< "Linux version 6.1.0-50-amd64 (...) ...": the build, as it names itself
    std::string release;  ///< "6.1.0-50-amd64"
    std::uint64_t memory_bytes = 0, memory_in_use_bytes = 0;  ///< without what only caches files
    bool has_snapshot_device = false;                         ///< /dev/snapshot
    bool can_hibernate = false;                               ///< "disk" in /sys/power/state
    bool has_kcore = false;                                   ///< /proc/kcore can be opened
    std::string lockdown;  ///< "none", "integrity", "confidentiality"; empty: the kernel has none
};

Facts read_facts(const layout::SystemRoots& roots = {});

/// Why memory and CPU state of this machine could not be duplicated, each a line; empty if nothing speaks
/// against it. What has to match another machine is not looked at.
std::vector<std::string> obstacles_to_snapshots(const Facts& facts);

/// Why this machine could not become an image of another one, each a line.
std::vector<std::string> obstacles_to_restoring(const Facts& facts);

struct MountedFilesystem {
    std::string point, type;
    bool can_freeze = true;
};
/// Those on block devices that may be written.
std::vector<MountedFilesystem> mounted_filesystems(const layout::SystemRoots& roots = {});

}  // namespace dupengine::machine
