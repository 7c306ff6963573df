#include "machine/snapshot_device.h"

#include <fcntl.h>
#include <linux/suspend_ioctls.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>

#include "codec/page_path.h"

namespace dupengine::machine {
namespace {

Fd open_device(const std::string& path, int flags) {
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
    if (fd.valid()) return fd;
    const int error = errno;
    if (error == EBUSY) throw_error(Code::kRefused, "{}: another program makes or restores an image", path);
    throw_errno(Code::kUnsupported, error, "{}: no image of memory can be made or restored", path);
}

void write_page(int fd, std::span<const std::byte> page, const std::string& path) {
    const ssize_t written = ::write(fd, page.data(), page.size());
    if (written == static_cast<ssize_t>(page.size())) return;
    throw_errno(
        Code::kUnsupported, written < 0 ? errno : 0,
        "{}: the kernel does not take this image (is it of another kernel, firmware or size of memory, "
        "or is memory short?)",
        path);
}

// The kernel's own for hibernation; it is one for all (Documentation/power/interface.rst).
unsigned long preferred_size() {
    try {
        return std::stoul(read_file("/sys/power/image_size", Code::kUnsupported));
    } catch (const std::exception&) {
        return 0;
    }
}

}  // namespace

SnapshotDevice::SnapshotDevice(const std::string& path)
    : path_(path), fd_(open_device(path, O_RDONLY)), preferred_size_(preferred_size()) {}

SnapshotDevice::~SnapshotDevice() {
    free_image();
    thaw();
}

void drop_file_caches() {
    const Fd fd(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
    constexpr std::string_view kFiles = "1";
    if (!fd.valid() || ::write(fd.get(), kFiles.data(), kFiles.size()) < 0)
        throw_errno(Code::kUnsupported, errno, "/proc/sys/vm/drop_caches: what is cached cannot be dropped");
}

void SnapshotDevice::freeze() {
    if (::ioctl(fd_.get(), SNAPSHOT_FREEZE, 0) != 0)
        throw_errno(
            Code::kUnsupported, errno,
            "{}: what runs here cannot be frozen (a process waits for something and cannot be stopped)",
            path_);
    is_frozen_ = true;
}

bool SnapshotDevice::create() {
    // As large as it is: nothing is looked for that could be left out. (The kernel rounds up: not all bits.)
    constexpr unsigned long kAnySize = 1UL << 62;
    if (::ioctl(fd_.get(), SNAPSHOT_PREF_IMAGE_SIZE, kAnySize) != 0)
        throw_errno(Code::kUnsupported, errno, "{}: the size of its image cannot be chosen", path_);
    int is_here = 0;
    if (::ioctl(fd_.get(), SNAPSHOT_CREATE_IMAGE, &is_here) != 0)
        throw_errno(
            Code::kUnsupported, errno,
            "{}: no image of memory can be made (half of memory has to be free, and all drivers have to "
            "agree)",
            path_);
    has_image_ = true;
    return is_here != 0;
}

bool SnapshotDevice::next_page(std::span<std::byte> page) {
    const ssize_t got = ::read(fd_.get(), page.data(), page.size());
    if (got == 0) return false;
    if (got != static_cast<ssize_t>(page.size()))
        throw_errno(Code::kSourceIo, got < 0 ? errno : 0, "{}: the image cannot be read", path_);
    return true;
}

void SnapshotDevice::free_image() noexcept {
    if (has_image_) ::ioctl(fd_.get(), SNAPSHOT_FREE, 0);
    has_image_ = false;
}

void SnapshotDevice::thaw() noexcept {
    free_image();
    if (!is_frozen_) return;
    ::ioctl(fd_.get(), SNAPSHOT_PREF_IMAGE_SIZE, preferred_size_);
    ::ioctl(fd_.get(), SNAPSHOT_UNFREEZE, 0);
    is_frozen_ = false;
    fd_ = Fd();  // if one of these failed, the kernel does it now
}

void restore_image(const std::function<bool(std::span<std::byte> page)>& next_page, const std::string& path) {
    const Fd fd = open_device(path, O_WRONLY);
    alignas(codec::kPageBytes) std::array<std::byte, codec::kPageBytes> page;
    while (next_page(page))
        write_page(fd.get(), page, path);
    if (::ioctl(fd.get(), SNAPSHOT_FREEZE, 0) != 0)
        throw_errno(Code::kUnsupported, errno, "{}: what runs here cannot be frozen", path);
    // Does not return if it succeeds; everything is thawed when the descriptor is closed.
    ::ioctl(fd.get(), SNAPSHOT_ATOMIC_RESTORE, 0);
    throw_errno(
        Code::kUnsupported, errno,
        "{}: the image is complete, but this kernel does not become it (another kernel, another memory "
        "map of the firmware, too little memory)",
        path);
}

}  // namespace dupengine::machine
