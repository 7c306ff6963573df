#pragma once
// Which files lie on given places of a filesystem: how a difference or an unreadable sector is told to a
// person. Looks only; a filesystem that it cannot read gives no names and a reason.

#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "layout/signature.h"

namespace dupengine::layout {

struct FileOwner {
    /// From the root of the filesystem: "/etc/fstab"; any bytes. What has no name stands in parentheses:
    /// "(journal)", "(inode 17)".
    std::string path;
    std::uint64_t bytes = 0;  ///< of the places that belong to it
};

struct FileOwners {
    std::vector<FileOwner> files;   ///< by path
    std::uint64_t other_bytes = 0;  ///< in no file: the filesystem's own structures, or free
    std::string reason;             ///< why names are missing, some or all: "files of zfs are not looked up"
};

/// `places` are bytes within `part`. What cannot be read or believed has no names, and `reason` says so.
FileOwners find_file_owners(const block::Reader& part, const std::optional<Signature>& signature,
                            const block::ExtentSet& places);

// One per filesystem. They throw kIntegrity or what reading throws if they cannot say anything at all.
FileOwners btrfs_file_owners(const block::Reader& part, const block::ExtentSet& places);  ///< on one device
FileOwners ext_file_owners(const block::Reader& part, const block::ExtentSet& places);  ///< ext2, ext3, ext4
FileOwners exfat_file_owners(const block::Reader& part, const block::ExtentSet& places);
FileOwners fat_file_owners(const block::Reader& part, const block::ExtentSet& places);   ///< FAT12/16/32
FileOwners ntfs_file_owners(const block::Reader& part, const block::ExtentSet& places);  ///< NTFS
FileOwners xfs_file_owners(const block::Reader& part, const block::ExtentSet& places);   ///< XFS, 4 and 5

}  // namespace dupengine::layout
