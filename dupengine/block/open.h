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

/// A path to what `fd` has open, be its name given to something else by now; for other programs, too. Good as
/// long as `fd` is open.
std::string lasting_path(int fd);

/// Somebody's source, as long as this lives: no copy writes to it, and a change of it is noticed.
class SourceHold {
  public:
    /// Of what `opened` has open, which is called `name`. Throws kRefused if a copy is writing to it now.
    SourceHold(int opened, std::string name);
    /// Nobody can mount a block device from here on, or use it as swap. Not where another copy reads it, or
    /// another device stands on it.
    void take_alone();
    bool is_alone() const { return alone_.valid(); }
    /// Whether a file was written, or cut, since this was made. A device does not tell
    /// (layout/write_watch.h).
    bool has_changed() const;

  private:
    struct State {
        std::int64_t size = 0, seconds = 0, nanoseconds = 0;
        bool operator==(const State&) const = default;
    };
    State look() const;
    std::string name_;
    Fd shared_, alone_;
    State state_;
};

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
