#include "block/page_cache.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

namespace dupengine::block {

void forget_cached(const Reader& disk) {
    const int fd = disk.native_fd();
    if (fd < 0) return;
    if (::fsync(fd) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", disk.name());
    const bool is_device = disk.geometry().is_block_device;
    const int error = is_device ? (::ioctl(fd, BLKFLSBUF, 0) == 0 ? 0 : errno)
                                : ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (error != 0)
        throw_errno(Code::kTargetIo, error, "{}: what is held of it in memory cannot be dropped",
                    disk.name());
}

}  // namespace dupengine::block
