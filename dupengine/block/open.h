#pragma once
// From a path to a Reader or, through the guard, to a Target. Opening a source never changes it (O_RDONLY);
// opening a target takes it exclusively where the kernel knows how (O_EXCL on a block device, a lock on a
// file).

#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "block/guard.h"

namespace dupengine::block {

/// What stands at a path, without opening it for transfer.
struct PathIdentity {
    bool is_block_device = false;
    std::uint64_t device_number =
        0;                    ///< of the block device itself, or of the file system that holds the file
    std::uint64_t inode = 0;  ///< 0 for a block device
    bool operator==(const PathIdentity&) const = default;
};

/// Throws kRefused with the reason if `path` is missing, a directory, a pipe, a character device, ...
PathIdentity identify(const std::string& path);

/// Throws kRefused if `path` could not be opened for writing: no permission, or a device that is set
/// read-only. Opens it for reading only.
void refuse_if_read_only(const std::string& path);

/// Keeps copies from writing to `path` as long as the result lives: it is somebody's source. Throws kRefused
/// if one is writing to it now.
[[nodiscard]] Fd hold_as_source(const std::string& path);

/// Asks the kernel to read the partition table of a block device again, so that its partitions get their
/// devices. False if partitions of it stay in use for two seconds, so that the kernel keeps the old table.
bool reread_partitions(const std::string& path);

/// Tells the kernel of a new partition of a block device, so that it gets a device of its own: has the table
/// read again, and names this one partition where that is not enough (others are in use, the kernel does not
/// know the table's format). Without effect on files and on devices that cannot have partitions.
void announce_partition(const std::string& path, unsigned number, Extent extent);

/// `sector_bytes` overrides the logical sector size of a file that holds the image of another kind of disk;
/// for a block device it must agree with the device. Throws kRefused (kinds of path, size 0), kSourceIo.
std::unique_ptr<Reader> open_source(const std::string& path, std::optional<std::uint32_t> sector_bytes = {});

/// Throws kRefused if it is read-only, busy (O_EXCL) or not permitted, before anything is written.
std::unique_ptr<Target> open_target(const std::string& path, ProtectedRegions regions,
                                    std::optional<std::uint32_t> sector_bytes = {});

}  // namespace dupengine::block
