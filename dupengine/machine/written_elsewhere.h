#pragma once
// What of this machine is written elsewhere than to some disks: filesystems on other disks and at servers,
// and swap. A duplicate of its memory would go on writing there, to what it never was given, or a second
// time.
//
// Looks only; also in a pause.

#include <string>
#include <vector>

#include "layout/in_use.h"
#include "machine/hot_disk.h"

namespace dupengine::machine {

/// Each as one line; empty: nothing. `uses` are those of `disks`. Filesystems in memory only are left out,
/// and those that nobody can write to.
std::vector<std::string> written_elsewhere(const std::vector<std::string>& disks, const DiskUses& uses,
                                           const layout::SystemRoots& roots = {});

}  // namespace dupengine::machine
