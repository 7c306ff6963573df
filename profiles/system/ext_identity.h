#pragma once
// The UUID of an ext2, ext3 or ext4 file system, changed so that a cut at any moment can be repaired.
//
// Where metadata checksums are made with the UUID (metadata_csum without metadata_csum_seed), changing it
// rewrites every piece of metadata; a cut leaves a mixture of old and new checksums in a file system that
// calls itself clean. e2fsck is no help there: it takes inodes with bad checksums for garbage and drops them.
// But tune2fs, begun again with the same UUID, makes every checksum anew without asking for the old one. So a
// mark with that UUID is put into the superblock first (its "last mounted" text, which is only shown to
// people); whoever finds the mark makes the superblock's own checksum fit (tune2fs may have been cut while it
// wrote that) and lets tune2fs do its work again before anything else looks at the file system.
//
// Superblock: kernel, Documentation/filesystems/ext4/super.rst. Programs: e2fsprogs.

#include <string>

#include "block/device.h"

namespace dupengine::profiles {

struct ExtState {
    bool is_clean = true;           ///< no journal to replay, no errors noted
    bool was_cut = false;           ///< the mark is there
    std::string wanted_uuid;        ///< of the mark
    bool uuid_is_fixed = false;     ///< feature stable_inodes: encrypted files are bound to the UUID
    bool full_check_first = false;  ///< changing the UUID rewrites checksums
    std::string uuid;
    std::string last_mounted;  ///< without the mark
};

/// Throws kIntegrity if there is no such superblock.
ExtState read_ext_state(const block::Reader& part);

/// Replays the journal and repairs what is safe to repair (e2fsck -p); where the mark shows that a change of
/// the UUID was cut, completes it. Does nothing to a clean one. Throws kIntegrity if it is damaged beyond
/// that.
void repair_ext(const std::string& device, const ExtState& state, const std::string& name);
/// A full check (e2fsck -fp). Throws kIntegrity.
void check_ext(const std::string& device, const std::string& name);
/// The file system is not mounted. It is checked before, where that matters, and after.
void set_ext_uuid(const std::string& device, const ExtState& state, const std::string& uuid,
                  const std::string& name);

}  // namespace dupengine::profiles
