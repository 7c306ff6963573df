#pragma once
// The UUID of an ext2, ext3 or ext4 file system, changed so that a cut at any moment can be repaired. Where
// metadata checksums are made with the UUID (metadata_csum without metadata_csum_seed), changing it rewrites
// every piece of metadata; a cut leaves a mixture of old and new checksums in a file system that calls itself
// clean. So a mark is put into the superblock first (its "last mounted" text, which the kernel only shows to
// people); whoever finds the mark lets e2fsck put the checksums right. The data itself is never touched by
// this: e2fsck found the file system in order just before. Superblock layout: kernel,
// Documentation/filesystems/ext4/super.rst. Programs: e2fsprogs.

#include <string>

#include "block/device.h"

namespace dupengine::profiles {

struct ExtState {
    bool is_clean = true;           ///< no journal to replay, no errors noted
    bool was_cut = false;           ///< the mark is there
    bool uuid_is_fixed = false;     ///< feature stable_inodes: encrypted files are bound to the UUID
    bool full_check_first = false;  ///< changing the UUID rewrites checksums
    std::string uuid;
    std::string last_mounted;  ///< without the mark
};

/// Throws kIntegrity if there is no such superblock.
ExtState read_ext_state(const block::Reader& part);

/// Replays the journal and repairs what is safe to repair (e2fsck -p), or everything, where the mark shows
/// that we were cut (e2fsck -fy). Does nothing to a clean one. Throws kIntegrity if it is damaged beyond
/// that.
void repair_ext(const std::string& device, const ExtState& state, const std::string& name);
/// A full check (e2fsck -fp). Throws kIntegrity.
void check_ext(const std::string& device, const std::string& name);
/// The file system is not mounted and not cut. Takes away the mark too, if an earlier run came to its end
/// without doing so.
void set_ext_uuid(const std::string& device, const ExtState& state, const std::string& uuid,
                  const std::string& name);
/// Takes the mark away after a repair.
void clear_ext_mark(const std::string& device, const ExtState& state, const std::string& name);

}  // namespace dupengine::profiles
