#pragma once
// fstab(5) of a copied system, as far as it says which partition of its own disk is mounted where. Pure.

#include <string>
#include <vector>

#include "layout/describe.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

/// Mount points below the root, of partitions of this disk, the shorter paths first. Devices are named by
/// UUID, PARTUUID, LABEL or PARTLABEL in any of their spellings; names such as /dev/sda2 tell nothing about a
/// copy and are passed over.
std::vector<MountPoint> mount_points_of(const std::string& fstab, const layout::DiskDescription& description);

}  // namespace dupengine::profiles
