#include "block/linux_device.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/aligned_buffer.h"
#include "base/copy_bytes.h"
#include "block/open.h"

namespace dupengine::block {
namespace {

// Below this a trip past the page cache costs more than it saves.
constexpr std::size_t kDirectMinimum = 64 * kKiB;

bool lives_in_memory(int fd) {
    struct statfs fs {};
    return ::fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

bool read_rotational(const struct stat& st) {
    const std::string base = fmt::format("/sys/dev/block/{}:{}", major(st.st_rdev), minor(st.st_rdev));
    for (const char* leaf : {"/queue/rotational", "/../queue/rotational"}) {
        const int fd = ::open((base + leaf).c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        char digit = '0';
        const bool got = ::read(fd, &digit, 1) == 1;
        ::close(fd);
        if (got) return digit == '1';
    }
    return false;
}

// Alone among copies (flock; systemd's BLOCK_DEVICE_LOCKING keeps udev's probing away by the same lock, and
// may hold it for a moment), and not while a virtual machine runs from the file (QEMU's open file description
// locks).
void take_alone(int fd, const std::string& path) {
    constexpr int kTries = 40;
    constexpr useconds_t kPauseMicroseconds = 50'000;
    for (int i = 0; ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++i) {
        if (i == kTries) throw_error(Code::kRefused, "{}: another program holds a lock on it", path);
        ::usleep(kPauseMicroseconds);
    }
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK)
        throw_error(Code::kRefused, "{}: another program, perhaps a virtual machine, holds a lock on it",
                    path);
}

// A file system that takes O_DIRECT at open may still refuse a transfer (EINVAL: it wants another alignment,
// or the file is compressed, inline, encrypted): such a transfer goes through the page cache instead.
bool may_be_tried_again(int error) {
    return error == EINVAL || error == EINTR || error == EAGAIN;
}

bool pread_direct(int fd, ByteOffset offset, std::span<std::byte> buffer, Code code,
                  const std::string& name) {
    try {
        pread_exact(fd, offset, buffer, code, name);
    } catch (const Error& e) {
        if (e.system_errno() == EINVAL) return false;
        throw;
    }
    return true;
}

bool pwrite_direct(int fd, ByteOffset offset, std::span<const std::byte> buffer, Code code,
                   const std::string& name) {
    try {
        pwrite_exact(fd, offset, buffer, code, name);
    } catch (const Error& e) {
        if (e.system_errno() == EINVAL) return false;
        throw;
    }
    return true;
}

}  // namespace

LinuxDevice::LinuxDevice(const std::string& path, Access access, std::optional<std::uint32_t> sector_bytes)
    : name_(path), code_(access == Access::kRead ? Code::kSourceIo : Code::kTargetIo) {
    const PathIdentity identity = identify(path);
    const bool writing = access == Access::kWrite;
    if (writing) refuse_if_read_only(path);
    const int exclusive = writing && identity.is_block_device ? O_EXCL : 0;
    const int mode = writing ? O_RDWR : O_RDONLY;
    try {
        cached_ = open_path(path, mode | exclusive, Code::kRefused);
    } catch (Error& e) {
        if (e.system_errno() == EBUSY) e.add_context("in use by the kernel or another program");
        if (!writing)
            e.set_code(e.system_errno() == EACCES || e.system_errno() == EPERM ? Code::kRefused
                                                                               : Code::kSourceIo);
        throw;
    }
    if (writing) take_alone(cached_.get(), path);
    find_geometry(sector_bytes);
    if (!geometry_.in_memory) {
        const int fd = ::open(path.c_str(), mode | O_DIRECT | O_CLOEXEC);
        if (fd >= 0) direct_ = Fd(fd);
    }
    // A path can be re-pointed between two opens: the second must be the same thing.
    struct stat a {
    }, b{};
    if (direct_.valid() && ::fstat(cached_.get(), &a) == 0 && ::fstat(direct_.get(), &b) == 0 &&
        (a.st_dev != b.st_dev || a.st_ino != b.st_ino || a.st_rdev != b.st_rdev))
        throw_error(Code::kRefused, "{}: was replaced while it was being opened", path);
}

void LinuxDevice::find_geometry(std::optional<std::uint32_t> sector_bytes) {
    struct stat st {};
    if (::fstat(cached_.get(), &st) != 0) throw_errno(code_, errno, "{}: cannot be examined", name_);
    geometry_.is_block_device = S_ISBLK(st.st_mode);
    if (geometry_.is_block_device) {
        std::uint64_t size = 0;
        int logical = 0;
        unsigned physical = 0;
        if (::ioctl(cached_.get(), BLKGETSIZE64, &size) != 0 ||
            ::ioctl(cached_.get(), BLKSSZGET, &logical) != 0 ||
            ::ioctl(cached_.get(), BLKPBSZGET, &physical) != 0)
            throw_errno(code_, errno, "{}: the device does not tell its size", name_);
        geometry_.size_bytes = size;
        geometry_.logical_sector_bytes = static_cast<std::uint32_t>(logical);
        geometry_.physical_sector_bytes = physical;
        geometry_.rotational = read_rotational(st);
        if (sector_bytes && *sector_bytes != geometry_.logical_sector_bytes)
            throw_error(Code::kRefused, "{}: its sectors are of {} bytes, not {}", name_,
                        geometry_.logical_sector_bytes, *sector_bytes);
    } else {
        geometry_.size_bytes = static_cast<std::uint64_t>(st.st_size);
        geometry_.logical_sector_bytes = sector_bytes.value_or(512);
        geometry_.physical_sector_bytes = std::max(4096u, geometry_.logical_sector_bytes);
        // Of a device node it would be told of /dev, which is a tmpfs itself.
        geometry_.in_memory = lives_in_memory(cached_.get());
        holes_ = std::make_unique<HoleMap>(cached_.get(), geometry_.size_bytes, code_, name_);
    }
    const std::uint32_t sector = geometry_.logical_sector_bytes;
    if (sector < 512 || sector > 65536 || !std::has_single_bit(sector))
        throw_error(Code::kRefused, "{}: sectors of {} bytes are not supported", name_, sector);
    if (geometry_.size_bytes == 0)
        throw_error(Code::kRefused, "{}: has no bytes (no medium, or an empty file)", name_);
}

std::size_t LinuxDevice::alignment() const {
    // A file system may want more than a sector; what it wants is asked by trying (finish_read).
    return geometry_.is_block_device ? geometry_.logical_sector_bytes
                                     : std::max<std::size_t>(kAlignment, geometry_.logical_sector_bytes);
}

bool LinuxDevice::is_aligned(ByteOffset offset, const void* buffer, std::size_t size) const {
    const auto address = reinterpret_cast<std::uintptr_t>(buffer);
    return direct_.valid() && (offset | size | address) % alignment() == 0;
}

void LinuxDevice::read(ByteOffset offset, std::span<std::byte> buffer) const {
    if (buffer.size() >= kDirectMinimum && is_aligned(offset, buffer.data(), buffer.size()) &&
        pread_direct(direct_.get(), offset, buffer, code_, name_))
        return;
    pread_exact(cached_.get(), offset, buffer, code_, name_);
}

void LinuxDevice::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    if (is_aligned(offset, buffer.data(), buffer.size())) {
        if (!pread_direct(direct_.get(), offset, buffer, code_, name_)) read_cold(offset, buffer);
        return;
    }
    const Extent around{align_down(offset, alignment()), align_up(offset + buffer.size(), alignment())};
    if (direct_.valid() && around.end <= geometry_.size_bytes) {
        // Unaligned: the whole sectors around it, past the page cache.
        AlignedBuffer whole(around.size());
        if (pread_direct(direct_.get(), around.begin, whole.first(around.size()), code_, name_)) {
            copy_bytes(whole.all().subspan(offset - around.begin, buffer.size()), buffer);
            return;
        }
    }
    read_cold(offset, buffer);
}

// Clean cached pages are dropped, so that the read asks the device. The caller has flushed.
void LinuxDevice::read_cold(ByteOffset offset, std::span<std::byte> buffer) const {
    const Extent around{align_down(offset, kAlignment), align_up(offset + buffer.size(), kAlignment)};
    if (!geometry_.in_memory)
        ::posix_fadvise(cached_.get(), static_cast<off_t>(around.begin), static_cast<off_t>(around.size()),
                        POSIX_FADV_DONTNEED);
    pread_exact(cached_.get(), offset, buffer, code_, name_);
}

void LinuxDevice::start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                             std::span<std::byte> buffer, From from) const {
    if (!is_aligned(offset, buffer.data(), buffer.size()) ||
        !transfers.start_read(tag, direct_.get(), offset, buffer, *this))
        Reader::start_read(transfers, tag, offset, buffer, from);
}

void LinuxDevice::start_write(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                              std::span<const std::byte> buffer) {
    if (!is_aligned(offset, buffer.data(), buffer.size()) ||
        !transfers.start_write(tag, direct_.get(), offset, buffer, *this))
        Device::start_write(transfers, tag, offset, buffer);
}

void LinuxDevice::finish_read(ByteOffset offset, std::span<std::byte> buffer, int error) const {
    if (error != 0 && !may_be_tried_again(error))
        throw_errno(code_, error, "{}: read of {} bytes at {} failed", name_, buffer.size(), offset);
    read_cold(offset, buffer);
}

void LinuxDevice::finish_write(ByteOffset offset, std::span<const std::byte> buffer, int error) const {
    if (error != 0 && !may_be_tried_again(error))
        throw_errno(code_, error, "{}: write of {} bytes at {} failed", name_, buffer.size(), offset);
    pwrite_exact(cached_.get(), offset, buffer, code_, name_);
}

bool LinuxDevice::has_data(Extent within) const {
    return holes_ ? holes_->has_data(within) : !within.empty();
}

Extent LinuxDevice::next_data(Extent within) const {
    return holes_ ? holes_->next_data(within) : within;
}

void LinuxDevice::write(ByteOffset offset, std::span<const std::byte> buffer) {
    if (buffer.size() >= kDirectMinimum && is_aligned(offset, buffer.data(), buffer.size()) &&
        pwrite_direct(direct_.get(), offset, buffer, code_, name_))
        return;
    pwrite_exact(cached_.get(), offset, buffer, code_, name_);
}

void LinuxDevice::write_zeros(Extent extent) {
    alignas(kAlignment) static const std::byte kZeros[256 * kKiB] = {};
    for (ByteOffset at = extent.begin; at < extent.end;) {
        const std::size_t n = std::min<std::uint64_t>(sizeof kZeros, extent.end - at);
        write(at, std::span(kZeros, n));
        at += n;
    }
}

void LinuxDevice::zero(Extent extent, Zeroing how) {
    // On a block device these are "write zeroes" requests, with and without leave to unmap (block/fops.c,
    // blkdev_fallocate); both promise that zeros are read afterwards, which BLKDISCARD does not.
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const int range = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    const auto begin = static_cast<off_t>(extent.begin);
    const auto size = static_cast<off_t>(extent.size());
    if ((how == Zeroing::kDeallocate && ::fallocate(cached_.get(), punch, begin, size) == 0) ||
        ::fallocate(cached_.get(), range, begin, size) == 0) {
        if (holes_) holes_->forget(extent);
        return;
    }
    if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)
        throw_errno(code_, errno, "{}: {} cannot be zeroed", name_, extent.text());
    write_zeros(extent);
}

void LinuxDevice::flush() {
    // fsync once: after an error the kernel may have dropped the dirty pages, and a second call would lie.
    if (::fsync(cached_.get()) != 0)
        throw_errno(code_, errno, "{}: flush failed; what was written may be lost", name_);
}

}  // namespace dupengine::block
