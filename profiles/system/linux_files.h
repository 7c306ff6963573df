#pragma once
// File systems in which Linux has all of a file: its owner, mode and attributes. What a system's root can be
// on here; the kernel's own driver reads and writes them, mounted where no other process sees it.

#include <string>

#include "base/fd.h"
#include "block/device.h"
#include "layout/describe.h"
#include "profiles/system/partition_loop.h"

namespace dupengine::profiles {

/// ext2, ext3, ext4 or XFS.
bool has_linux_files(const layout::PartitionDescription& partition);

/// Of such a partition on this device: a descriptor of its root, unmounted when the last one is closed.
/// Reading leaves every byte as it is: no journal is replayed. Another one with the same UUID may be mounted.
/// Throws kUnsupported, kIntegrity.
Fd mount_linux_files(const layout::PartitionDescription& partition, const std::string& device, Access access,
                     const std::string& name);

/// Whether it was left as an unmount leaves it: no journal to replay, and no errors noted. Throws kIntegrity
/// if there is no such file system, and what the disk throws.
bool was_left_in_order(const layout::PartitionDescription& partition, const block::Reader& part);

}  // namespace dupengine::profiles
