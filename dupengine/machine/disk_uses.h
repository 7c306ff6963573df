#pragma once
// What uses a disk of this machine now, as far as a copy of it in use has to know.

#include "machine/hot_disk.h"

namespace dupengine::machine {

/// Throws kRefused for a use that cannot be brought to rest: a mount that no process shows, a program that
/// holds the disk for itself.
DiskUses look_at_uses(const std::string& disk);
/// Of all together; what is swap in offsets of the row.
DiskUses look_at_uses(const std::vector<FollowedDisk>& disks);

}  // namespace dupengine::machine
