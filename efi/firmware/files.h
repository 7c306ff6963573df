#pragma once
// Files on the partitions that firmware can read.

#include "efi/core/firmware.h"
#include "efi/firmware/disks.h"

namespace dupengine::efi {

/// The handle of a partition with a file system: on this very disk, for disks may be copies of each other.
/// Null: none.
Handle partition_handle(BootServices& boot, Bytes disk_path, const Guid& partition);

/// Reads a whole file into `into`. Returns nothing, or why it cannot.
TextView read_whole_file(BootServices& boot, Handle partition, TextView path, Pool& into);

}  // namespace dupengine::efi
