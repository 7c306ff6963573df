#include "machine/efi_variables.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/fd.h"

namespace dupengine::machine {
namespace {

// Non-volatile, boot services, runtime (UEFI 2.10, 8.2).
constexpr std::string_view kAttributes("\x07\0\0\0", 4);
// Firmware has less room for all of them.
constexpr std::size_t kLongest = std::size_t{1} << 20;

// The kernel protects variables that it does not know from being deleted by mistake. Where that does not
// exist, nothing is protected. Returns whether it was.
bool set_protected(const std::string& path, bool is_protected) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    unsigned flags = 0;
    if (!fd.valid() || ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) return false;
    const bool was_protected = (flags & FS_IMMUTABLE_FL) != 0;
    if (was_protected == is_protected) return was_protected;
    flags ^= static_cast<unsigned>(FS_IMMUTABLE_FL);
    static_cast<void>(::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags));
    return was_protected;
}

[[noreturn]] void throw_write_error(const std::string& name, std::size_t size, int error) {
    if (error == ENOSPC)
        throw_error(Code::kUnsupported,
                    "{}: the firmware has no room left for variables ({} bytes are wanted); delete some that "
                    "nobody needs, such as dump-* in {}",
                    name, size, kEfivarsFolder);
    if (error == EINVAL)
        throw_error(Code::kUnsupported, "{}: the firmware takes no variable of {} bytes", name, size);
    throw_errno(Code::kTargetIo, error, "{}: the variable cannot be written", name);
}

// With one call, because each is a change of its own. Returns an errno.
int write_at_once(int fd, std::string_view content) {
    ssize_t written = 0;
    do
        written = ::write(fd, content.data(), content.size());
    while (written < 0 && errno == EINTR);
    if (written < 0) return errno;
    return written == static_cast<ssize_t>(content.size()) ? 0 : ENOSPC;
}

}  // namespace

EfiVariables::EfiVariables(std::string folder, std::string vendor)
    : folder_(std::move(folder)), vendor_(std::move(vendor)) {
    std::error_code error;
    const std::filesystem::directory_iterator first(folder_, error);
    if (error == std::errc::no_such_file_or_directory)
        throw_error(Code::kUnsupported, "{}: not there; this machine was not started by UEFI firmware",
                    folder_);
    if (error) throw_errno(Code::kUnsupported, error.value(), "{}: no variables of firmware", folder_);
    if (first == std::filesystem::directory_iterator())
        throw_error(Code::kUnsupported, "{}: empty; mount -t efivarfs efivarfs {}", folder_, folder_);
}

std::string EfiVariables::path_of(const std::string& name) const {
    return folder_ + "/" + name + "-" + vendor_;
}

std::optional<std::string> EfiVariables::read(const std::string& name) const {
    const std::string path = path_of(name);
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() && errno == ENOENT) return std::nullopt;
    if (!fd.valid()) throw_errno(Code::kSourceIo, errno, "{}: the variable cannot be read", name);
    const Bytes content = read_to_end(fd.get(), kLongest, name);
    // A file without attributes is one of which the variable was never made.
    if (content.size() < kAttributes.size()) return std::nullopt;
    return std::string(as_text(content).substr(kAttributes.size()));
}

void EfiVariables::write(const std::string& name, const std::string& value, Readers readers) {
    const std::string path = path_of(name);
    const bool was_there = ::access(path.c_str(), F_OK) == 0;
    const mode_t mode = readers == Readers::kRoot ? 0600 : 0644;
    const bool was_protected = set_protected(path, false);
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, mode));
    if (!fd.valid()) throw_write_error(name, value.size(), errno);
    // A new one is protected from the beginning, also from this, and has the mode that it was made with.
    if (was_there && readers == Readers::kRoot && ::fchmod(fd.get(), mode) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be kept from other users", name);
    const std::string content = std::string(kAttributes) + value;
    const int error = write_at_once(fd.get(), content);
    if (error != 0 && !was_there) static_cast<void>(::unlink(path.c_str()));
    // A variable has the size that was written last; any other file has to be told. Reading back decides.
    if (error == 0) {
        [[maybe_unused]] const int cut = ::ftruncate(fd.get(), static_cast<off_t>(content.size()));
    }
    if (was_protected) set_protected(path, true);
    if (error != 0) throw_write_error(name, value.size(), error);
    if (read(name) != value)
        throw_error(Code::kIntegrity, "{}: the firmware did not keep what was written", name);
}

void EfiVariables::remove(const std::string& name) {
    const std::string path = path_of(name);
    set_protected(path, false);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        throw_errno(Code::kTargetIo, errno, "{}: the variable cannot be deleted", name);
}

bool runs_from_memory() {
    struct statfs root {};
    return ::statfs("/", &root) == 0 && (root.f_type == TMPFS_MAGIC || root.f_type == RAMFS_MAGIC);
}

void mount_efi_variables() {
    const std::filesystem::path folder = kEfivarsFolder;
    std::error_code error;
    if (std::filesystem::is_empty(folder, error) && !error)
        static_cast<void>(
            ::mount("efivarfs", folder.c_str(), "efivarfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""));
}

}  // namespace dupengine::machine
