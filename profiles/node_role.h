#pragma once
// The role that a node has: its profile from a store, merged with the roles that it names. Role files come
// from this machine or, where it has none of that name, from the copied system itself. Reads only.

#include <string>
#include <vector>

#include "block/in_place.h"
#include "profiles/slots.h"
#include "profiles/system/tree.h"

namespace dupengine::profiles {

struct StoredRole {
    std::string store;  ///< where it was found
    StoredProfile profile;
};
/// What the store holds. Throws kRefused if there is no profile that can be used: no profile, no role.
StoredRole read_stored_role(const std::string& store);
/// From the profile partition of the disk that has one. Several may have the same profile; throws kRefused
/// for different ones, or if none has one.
StoredRole find_stored_role(const std::vector<std::string>& disks);
/// The same, but in a system that runs from memory the disks are the machine's own, and its firmware may have
/// a profile, too (efivar:): it counts where no disk has such a partition, and throws kRefused where disk and
/// firmware name two nodes, as for a disk that was moved here. A workshop that makes disks for others is not
/// who its firmware says.
StoredRole find_own_role(const std::vector<std::string>& disks);
/// The same with this store for that of the firmware; empty: it has none.
StoredRole find_own_role(const std::vector<std::string>& disks, const std::string& firmware);

/// The same on a system that runs from these disks, and may believe them to be others (the restored image of
/// a source): tables and slots are asked of the media, past every cache, and the kernel's own idea of the
/// partitions is not asked at all. Each disk is a block device.
StoredRole find_role_on_media(const std::vector<std::string>& disks, const block::Media& media = {});
/// What one disk's profile partition holds, read in the same way. Throws kRefused if it has none that can be
/// used.
StoredRole read_role_from_medium(const std::string& disk, const block::Media& media = {});

/// The merged profile. `folders` are of this machine, in order of precedence; `system` is the copied one,
/// called `name` in messages. Throws kRefused for a bad profile, or a role that is bad or nowhere.
Profile merge_role(const StoredRole& stored, const std::vector<std::string>& folders, const Tree& system,
                   const std::string& name);
/// Where there is no copied system yet: merged with those roles that this machine has. `left_out` takes the
/// names of the others. Throws kRefused for a bad profile or role.
Profile merge_role_here(const StoredRole& stored, const std::vector<std::string>& folders,
                        std::vector<std::string>& left_out);

}  // namespace dupengine::profiles
