#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace dupengine {

Fd& Fd::operator=(Fd&& other) noexcept {
    if (this != &other) {
        if (fd_ >= 0) ::close(fd_);
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

Fd::~Fd() {
    if (fd_ >= 0) ::close(fd_);
}

void Fd::close(Code code, const std::string& name) {
    if (fd_ < 0) return;
    if (::close(std::exchange(fd_, -1)) != 0) throw_errno(code, errno, "{}: close failed", name);
}

Fd open_path(const std::string& path, int flags, Code code, unsigned mode) {
    for (;;) {
        const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
        if (fd >= 0) return Fd(fd);
        if (errno != EINTR) throw_errno(code, errno, "{}: cannot be opened", path);
    }
}

void pread_exact(int fd, ByteOffset offset, std::span<std::byte> buffer, Code code, const std::string& name) {
    std::size_t done = 0;
    while (done < buffer.size()) {
        const ssize_t n =
            ::pread(fd, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (n == 0) {
            throw_error(code, "{}: ends at byte {}, {} more were expected", name, offset + done,
                        buffer.size() - done);
        } else if (errno != EINTR) {
            throw_errno(code, errno, "{}: read of {} bytes at {} failed", name, buffer.size() - done,
                        offset + done);
        }
    }
}

void pwrite_exact(int fd, ByteOffset offset, std::span<const std::byte> buffer, Code code,
                  const std::string& name) {
    std::size_t done = 0;
    while (done < buffer.size()) {
        const ssize_t n =
            ::pwrite(fd, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (n == 0) {
            throw_error(code, "{}: the device took 0 of {} bytes at {}", name, buffer.size() - done,
                        offset + done);
        } else if (errno != EINTR) {
            throw_errno(code, errno, "{}: write of {} bytes at {} failed", name, buffer.size() - done,
                        offset + done);
        }
    }
}

Bytes read_to_end(int fd, std::size_t limit_bytes, const std::string& name) {
    Bytes content;
    for (;;) {
        constexpr std::size_t kStep = 64 * kKiB;
        const std::size_t have = content.size();
        if (have > limit_bytes) throw_error(Code::kIntegrity, "{}: larger than {} bytes", name, limit_bytes);
        content.resize(have + kStep);
        const ssize_t n = ::read(fd, content.data() + have, kStep);
        if (n < 0 && errno != EINTR) throw_errno(Code::kInternal, errno, "{}: read failed", name);
        content.resize(have + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
        if (n == 0) return content;
    }
}

std::string read_file(const std::string& path, Code code, std::size_t limit_bytes) {
    const Fd fd = open_path(path, O_RDONLY, code);
    try {
        const Bytes content = read_to_end(fd.get(), limit_bytes, path);
        return std::string(as_text(content));
    } catch (Error& e) {
        e.set_code(code);
        throw;
    }
}

namespace {

void sync_folder(const std::string& folder, Code code) {
    const Fd fd = open_path(folder, O_RDONLY | O_DIRECTORY, code);
    if (::fsync(fd.get()) != 0) throw_errno(code, errno, "{}: flush failed", folder);
}

}  // namespace

void write_file_atomic(const std::string& path, std::span<const std::byte> content, unsigned mode,
                       Code code) {
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    const std::string folder = parent.empty() ? "." : parent.string();
    std::string temporary = path + ".dupengine-XXXXXX";
    Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd.valid()) throw_errno(code, errno, "{}: no temporary file can be made beside it", path);
    try {
        pwrite_exact(fd.get(), 0, content, code, temporary);
        if (::fchmod(fd.get(), mode) != 0) throw_errno(code, errno, "{}: mode cannot be set", temporary);
        if (::fsync(fd.get()) != 0) throw_errno(code, errno, "{}: flush failed", temporary);
        fd.close(code, temporary);
        if (::rename(temporary.c_str(), path.c_str()) != 0)
            throw_errno(code, errno, "{}: cannot be replaced", path);
    } catch (...) {
        ::unlink(temporary.c_str());
        throw;
    }
    sync_folder(folder, code);
}

}  // namespace dupengine
