#include "machine/efi_variables.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/fd.h"

namespace dupengine::machine {
namespace {

// Non-volatile, boot services, runtime (UEFI 2.10, 8.2).
constexpr std::string_view kAttributes("\x07\0\0\0", 4);
constexpr std::size_t kLongest = 4096;

// The kernel protects variables that it does not know from being deleted by mistake. Where that does not
// exist, nothing is protected.
void unprotect(const std::string& path) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    unsigned flags = 0;
    if (!fd.valid() || ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0 || (flags & FS_IMMUTABLE_FL) == 0)
        return;
    flags &= ~static_cast<unsigned>(FS_IMMUTABLE_FL);
    static_cast<void>(::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags));
}

[[noreturn]] void throw_write_error(const std::string& name, int error) {
    if (error == ENOSPC)
        throw_error(Code::kUnsupported,
                    "{}: the firmware has no room left for variables; delete some that nobody needs, such as "
                    "dump-* in {}",
                    name, kEfivarsFolder);
    throw_errno(Code::kTargetIo, error, "{}: the variable cannot be written", name);
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

void EfiVariables::write(const std::string& name, const std::string& value) {
    const std::string path = path_of(name);
    const bool was_there = ::access(path.c_str(), F_OK) == 0;
    unprotect(path);
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!fd.valid()) throw_write_error(name, errno);
    // With one call, because each is a change of its own.
    const std::string content = std::string(kAttributes) + value;
    const ssize_t written = ::write(fd.get(), content.data(), content.size());
    if (written != static_cast<ssize_t>(content.size())) {
        const int error = written < 0 ? errno : ENOSPC;
        if (!was_there) static_cast<void>(::unlink(path.c_str()));
        throw_write_error(name, error);
    }
    // A variable has the size that was written last; any other file has to be told. Reading back decides.
    [[maybe_unused]] const int cut = ::ftruncate(fd.get(), written);
    if (read(name) != value)
        throw_error(Code::kIntegrity, "{}: the firmware did not keep what was written", name);
}

void EfiVariables::remove(const std::string& name) {
    const std::string path = path_of(name);
    unprotect(path);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        throw_errno(Code::kTargetIo, errno, "{}: the variable cannot be deleted", name);
}

}  // namespace dupengine::machine
