#include "cli/created_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/fd.h"

namespace dupengine::cli {

CreatedFile::CreatedFile(std::string path, std::uint64_t size_bytes) {
    const std::filesystem::path parent = std::filesystem::absolute(path).parent_path();
    struct statfs fs {};
    if (::statfs(parent.c_str(), &fs) != 0) throw_errno(Code::kRefused, errno, "{}: cannot be created", path);
    const bool in_dev = std::filesystem::weakly_canonical(parent).string().starts_with("/dev/") &&
                        !std::filesystem::weakly_canonical(parent).string().starts_with("/dev/shm");
    if (in_dev || std::filesystem::weakly_canonical(parent) == "/dev")
        throw_error(Code::kRefused, "{}: does not exist, and no file is ever made below /dev", path);
    const Fd fd = open_path(path, O_RDWR | O_CREAT | O_EXCL, Code::kRefused);
    if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) {
        const int failed = errno;
        ::unlink(path.c_str());
        throw_errno(Code::kRefused, failed, "{}: cannot be made {} bytes long", path, size_bytes);
    }
    path_ = std::move(path);
}

CreatedFile::CreatedFile(CreatedFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}

CreatedFile& CreatedFile::operator=(CreatedFile&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
}

CreatedFile::~CreatedFile() {
    struct stat st {};
    if (!path_.empty() && ::stat(path_.c_str(), &st) == 0 && st.st_blocks == 0) ::unlink(path_.c_str());
}

}  // namespace dupengine::cli
