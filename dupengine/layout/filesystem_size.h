#pragma once
// How large a filesystem says it is, from its superblock alone: whether a program that was to make it larger
// has done so. Pure; nothing is written.

#include <string_view>

#include "block/device.h"

namespace dupengine::layout {

struct FilesystemSize {
    std::uint64_t bytes = 0;
    std::uint64_t unit = 1;  ///< what it cannot use of a place is smaller than this
};

/// Of ext2, ext3, ext4, F2FS, NTFS and XFS, by libblkid's names. Throws kIntegrity for what is not one,
/// kInternal for other names.
FilesystemSize read_filesystem_size(const block::Reader& part, std::string_view type);

}  // namespace dupengine::layout
