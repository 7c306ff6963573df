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
    std::string path;         ///< from the root of the filesystem: "/etc/fstab"; any bytes but NUL
    std::uint64_t bytes = 0;  ///< of the places that belong to it
};

struct FileOwners {
    std::vector<FileOwner> files;   ///< by path
    std::uint64_t other_bytes = 0;  ///< in no file: the filesystem's own structures, or free
    std::string reason;             ///< why there are no names: "no names of xfs files are known here"
};

/// `places` are bytes within `part`. Throws only what reading throws, and not kIntegrity.
FileOwners find_file_owners(const block::Reader& part, const std::optional<Signature>& signature,
                            const block::ExtentSet& places);

/// ext_file_owners.cc: ext2, ext3, ext4. Throws kIntegrity for what it cannot trust.
FileOwners ext_file_owners(const block::Reader& part, const block::ExtentSet& places);

}  // namespace dupengine::layout
