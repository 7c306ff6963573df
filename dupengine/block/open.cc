#include "block/open.h"

#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "block/linux_device.h"

namespace dupengine::block {

namespace {

// 0, or what the kernel has against it.
int reread(const std::string& path) {
    const Fd fd = open_path(path, O_RDONLY, Code::kTargetIo);
    // udev looks into the partitions of a disk that was just closed; that passes.
    constexpr int kTries = 20;
    constexpr useconds_t kPauseMicroseconds = 100'000;
    for (int i = 0; ::ioctl(fd.get(), BLKRRPART) != 0; ++i) {
        if (errno != EBUSY || i == kTries) return errno;
        ::usleep(kPauseMicroseconds);
    }
    return 0;
}

}  // namespace

PathIdentity identify(const std::string& path) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) throw_errno(Code::kRefused, errno, "{}: cannot be used", path);
    const auto refuse = [&](const char* what) {
        throw_error(Code::kRefused, "{}: is {}; a block device or a raw image file is needed", path, what);
    };
    if (S_ISDIR(st.st_mode)) refuse("a directory");
    if (S_ISFIFO(st.st_mode)) refuse("a pipe");
    if (S_ISSOCK(st.st_mode)) refuse("a socket");
    if (S_ISCHR(st.st_mode)) refuse("a character device");
    PathIdentity identity;
    identity.is_block_device = S_ISBLK(st.st_mode);
    identity.device_number = identity.is_block_device ? st.st_rdev : st.st_dev;
    identity.inode = identity.is_block_device ? 0 : st.st_ino;
    return identity;
}

void refuse_if_read_only(const std::string& path) {
    const bool is_device = identify(path).is_block_device;
    if (::access(path.c_str(), W_OK) != 0)
        throw_errno(Code::kRefused, errno, "{}: cannot be opened for writing", path);
    if (!is_device) return;
    int read_only = 0;
    const Fd fd = open_path(path, O_RDONLY, Code::kRefused);
    if (::ioctl(fd.get(), BLKROGET, &read_only) != 0)
        throw_errno(Code::kRefused, errno, "{}: does not say whether it can be written", path);
    if (read_only != 0)
        throw_error(Code::kRefused, "{}: is set read-only (blockdev --setrw {} lifts it)", path, path);
}

std::string lasting_path(int fd) {
    return fmt::format("/proc/{}/fd/{}", ::getpid(), fd);
}

SourceHold::SourceHold(int opened, std::string name)
    : name_(std::move(name)), shared_(open_path(lasting_path(opened), O_RDONLY, Code::kRefused)) {
    if (::flock(shared_.get(), LOCK_SH | LOCK_NB) != 0)
        throw_error(Code::kRefused, "{}: another program is writing to it", name_);
    state_ = look();
}

void SourceHold::take_alone() {
    const std::string path = lasting_path(shared_.get());
    if (!identify(path).is_block_device) return;
    const int fd = ::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
    if (fd >= 0) alone_ = Fd(fd);
}

SourceHold::State SourceHold::look() const {
    struct stat st {};
    if (::fstat(shared_.get(), &st) != 0)
        throw_errno(Code::kSourceIo, errno, "{}: cannot be examined", name_);
    if (S_ISBLK(st.st_mode)) return {};
    return {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
}

bool SourceHold::has_changed() const {
    return look() != state_;
}

bool reread_partitions(const std::string& path) {
    // Devices that cannot have partitions say EINVAL; only EBUSY means that an old table stays in force.
    return !identify(path).is_block_device || reread(path) != EBUSY;
}

void announce_partition(const std::string& path, unsigned number, Extent extent) {
    if (!identify(path).is_block_device) return;
    const int failed = reread(path);
    // A loop device without a scan for partitions would keep this one after it has got another file.
    if (failed != 0 && failed != EBUSY) return;
    blkpg_partition partition{};
    partition.start = static_cast<long long>(extent.begin);
    partition.length = static_cast<long long>(extent.size());
    partition.pno = static_cast<int>(number);
    blkpg_ioctl_arg argument{};
    argument.op = BLKPG_ADD_PARTITION;
    argument.datalen = sizeof partition;
    argument.data = &partition;
    const Fd fd = open_path(path, O_RDONLY, Code::kTargetIo);
    // Not looked at: it fails where the partition is known by now, too.
    static_cast<void>(::ioctl(fd.get(), BLKPG, &argument));
}

std::unique_ptr<Reader> open_source(const std::string& path, std::optional<std::uint32_t> sector_bytes) {
    return std::make_unique<LinuxDevice>(path, LinuxDevice::Access::kRead, sector_bytes);
}

std::unique_ptr<Target> open_target(const std::string& path, ProtectedRegions regions,
                                    std::optional<std::uint32_t> sector_bytes) {
    return std::make_unique<Target>(
        std::make_unique<LinuxDevice>(path, LinuxDevice::Access::kWrite, sector_bytes), std::move(regions));
}

}  // namespace dupengine::block
