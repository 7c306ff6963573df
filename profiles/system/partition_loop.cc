#include "profiles/system/partition_loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace dupengine::profiles {
namespace {

loop_config configuration(const Fd& backing, block::Extent part, std::uint32_t sector_bytes, Access access) {
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing.get());
    config.block_size = sector_bytes;
    config.info.lo_offset = part.begin;
    config.info.lo_sizelimit = part.size();
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (access == Access::kRead ? LO_FLAGS_READ_ONLY : 0);
    return config;
}

// What the kernel has to say about a mount that failed (fsopen(2): messages are read from the context).
std::string mount_complaint(int context) {
    char text[512];
    const ssize_t n = ::read(context, text, sizeof text - 1);
    if (n <= 2) return {};
    std::string message(text + 2, static_cast<std::size_t>(n) - 2);  // "e " in front tells the severity
    while (!message.empty() && message.back() == '\n')
        message.pop_back();
    return " (" + message + ")";
}

}  // namespace

PartitionLoop::PartitionLoop(const std::string& disk, block::Extent part, std::uint32_t sector_bytes,
                             Access access) {
    const int mode = access == Access::kRead ? O_RDONLY : O_RDWR;
    const Fd backing = open_path(disk, mode, Code::kTargetIo);
    const Fd control = open_path("/dev/loop-control", O_RDWR, Code::kUnsupported);
    const loop_config config = configuration(backing, part, sector_bytes, access);
    constexpr int kAttempts = 64;  // another process may take the free one first
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0) throw_errno(Code::kUnsupported, errno, "{}: no free loop device", disk);
        path_ = fmt::format("/dev/loop{}", number);
        Fd fd = open_path(path_, mode, Code::kUnsupported);
        if (::ioctl(fd.get(), LOOP_CONFIGURE, &config) == 0) {
            fd_ = std::move(fd);
            return;
        }
        if (errno != EBUSY)
            throw_errno(Code::kTargetIo, errno, "{}: {} cannot show {} of it", disk, path_, part.text());
    }
    throw_error(Code::kUnsupported, "{}: no free loop device after {} attempts", disk, kAttempts);
}

void PartitionLoop::flush() {
    if (::fsync(fd_.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", path_);
}

namespace {

Fd mount_nowhere(const char* type, const std::string& device, Access access,
                 const std::vector<const char*>& flags, const std::string& name) {
    const Fd context(::fsopen(type, FSOPEN_CLOEXEC));
    if (!context.valid())
        throw_errno(Code::kUnsupported, errno, "{}: this kernel cannot mount {}", name, type);
    bool good = ::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", device.c_str(), 0) == 0;
    for (const char* flag : flags)
        good = good && ::fsconfig(context.get(), FSCONFIG_SET_FLAG, flag, nullptr, 0) == 0;
    good = good && ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
    constexpr unsigned kCareful =
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME;
    Fd root;
    if (good)
        root = Fd(::fsmount(context.get(), FSMOUNT_CLOEXEC,
                            kCareful | (access == Access::kRead ? MOUNT_ATTR_RDONLY : 0)));
    if (!root.valid())
        throw_errno(Code::kIntegrity, errno, "{}: cannot be mounted{}", name, mount_complaint(context.get()));
    return root;
}

}  // namespace

Fd mount_ext(const std::string& device, Access access, const std::string& name) {
    std::vector<const char*> flags;
    if (access == Access::kRead) flags = {"ro", "noload"};
    return mount_nowhere("ext4", device, access, flags, name);  // the driver of all three
}

Fd mount_xfs(const std::string& device, Access access, const std::string& name) {
    std::vector<const char*> flags = {"nouuid"};
    if (access == Access::kRead) flags.insert(flags.end(), {"ro", "norecovery"});
    return mount_nowhere("xfs", device, access, flags, name);
}

Fd mount_fat(const std::string& device, Access access, const std::string& name) {
    std::vector<const char*> flags;
    if (access == Access::kRead) flags = {"ro"};
    return mount_nowhere("vfat", device, access, flags, name);
}

Fd mount_again(const std::string& path, std::uint64_t device_number) {
    Fd fd(::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT));
    if (!fd.valid()) throw_errno(Code::kRefused, errno, "{}: cannot be mounted once more", path);
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) throw_errno(Code::kRefused, errno, "{}: cannot be examined", path);
    if (st.st_dev != device_number)
        throw_error(Code::kRefused, "{}: is hidden by another file system that is mounted above it", path);
    return fd;
}

}  // namespace dupengine::profiles
