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

namespace fs = std::filesystem;

void refuse_place_in_dev(const std::string& path) {
    const fs::path parent = fs::weakly_canonical(fs::absolute(path).parent_path());
    const bool in_dev = parent.string().starts_with("/dev/") && !parent.string().starts_with("/dev/shm");
    if (in_dev || parent == "/dev")
        throw_error(Code::kRefused, "{}: does not exist, and no file is ever made below /dev", path);
}

CreatedFile::CreatedFile(std::string path, std::uint64_t size_bytes) {
    const fs::path parent = fs::absolute(path).parent_path();
    struct statfs filesystem {};
    if (::statfs(parent.c_str(), &filesystem) != 0)
        throw_errno(Code::kRefused, errno, "{}: cannot be created", path);
    refuse_place_in_dev(path);
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
