#pragma once
// The UUID of an ext2, ext3 or ext4 file system that is mounted, asked of the kernel and changed by it
// (EXT4_IOC_GETFSUUID, EXT4_IOC_SETFSUUID; fs/ext4/ioctl.c, from Linux 6.0 on). The change goes through the
// journal: after a cut there is the old UUID or the new one, and every metadata block fits to it.
//
// The kernel refuses where checksums are made with the UUID: features metadata_csum or uninit_bg without
// metadata_csum_seed. Then it stays; tune2fs -O metadata_csum_seed, which works while it is mounted, lifts
// that, but not every boot loader reads such a file system, so it is nothing to be done unasked.

#include <optional>
#include <string>

#include "block/device.h"

namespace dupengine::profiles {

/// `folder` is a descriptor of a folder in it, O_PATH will do. Empty if this kernel has no way to tell.
std::optional<std::string> mounted_ext_uuid(int folder);

/// Why the kernel would not change it; empty if it would. `part` is what the medium holds.
std::string why_mounted_uuid_is_fixed(const block::Reader& part, int folder);

/// Returns when it is durable, in the journal at least. Does nothing if it is `uuid` already. Throws
/// kTargetIo; kIntegrity if it is another one afterwards.
void set_mounted_ext_uuid(int folder, const std::string& uuid, const std::string& name);

}  // namespace dupengine::profiles
