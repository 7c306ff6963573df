#pragma once
// A loop device that shows one partition of a disk or image file and ends where it ends: programs that are
// given it (the kernel's ext4, e2fsck, tune2fs, mtools) cannot write anywhere else. Works without a partition
// table parser in the kernel. It goes away when the object does, or the process, however that ends
// (LO_FLAGS_AUTOCLEAR).

#include <string>

#include "base/fd.h"
#include "block/extent.h"

namespace dupengine::profiles {

enum class Access { kRead, kWrite };

class PartitionLoop {
  public:
    /// Throws kUnsupported if this machine has no free loop device, kTargetIo if the kernel refuses.
    PartitionLoop(const std::string& disk, block::Extent part, std::uint32_t sector_bytes, Access access);
    const std::string& path() const { return path_; }
    /// Returns when everything written to it has reached the disk.
    void flush();

  private:
    Fd fd_;
    std::string path_;
};

/// Mounts an ext2, ext3 or ext4 file system nowhere: the result is a descriptor of its root, and it is
/// unmounted when the last descriptor is closed. No other process sees it. Reading leaves every byte as it is
/// (no journal replay).
Fd mount_ext(const std::string& device, Access access, const std::string& name);

/// The same for XFS, also if another one with its UUID is mounted.
Fd mount_xfs(const std::string& device, Access access, const std::string& name);

/// The same for FAT, by the kernel's vfat.
Fd mount_fat(const std::string& device, Access access, const std::string& name);

/// One more mount, nowhere, of the file system that is mounted at `path`: its root without what is mounted
/// above its folders, writable if that one is. Throws kRefused if something else is to be seen at `path`.
Fd mount_again(const std::string& path, std::uint64_t device_number);

}  // namespace dupengine::profiles
