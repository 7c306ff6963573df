#include "image/tar_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/fd.h"
#include "codec/digest.h"

namespace dupengine::image {
namespace {

class TarFile final : public TarOutput {
  public:
    explicit TarFile(std::string path) : path_(std::move(path)) {
        struct stat info {};
        if (::lstat(path_.c_str(), &info) == 0) refuse_existing();
        const std::string parent = std::filesystem::path(path_).parent_path();
        folder_ = parent.empty() ? "." : parent;
        fd_ = Fd(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666));
        if (fd_.valid()) return;
        // Where files cannot be without a name.
        temporary_ = fmt::format("{}.new-{}", path_, ::getpid());
        fd_ = open_path(temporary_, O_RDWR | O_CREAT | O_EXCL, Code::kTargetIo, 0666);
    }
    ~TarFile() override {
        if (fd_.valid() && !temporary_.empty()) static_cast<void>(::unlink(temporary_.c_str()));
    }

    void append(std::span<const std::byte> bytes) override {
        pwrite_exact(fd_.get(), size_, bytes, Code::kTargetIo, path_);
        digest_.update(bytes);
        size_ += bytes.size();
    }

    void commit() override {
        if (::fdatasync(fd_.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", path_);
        read_back();
        const int failed =
            temporary_.empty()
                ? ::linkat(AT_FDCWD, fmt::format("/proc/self/fd/{}", fd_.get()).c_str(), AT_FDCWD,
                           path_.c_str(), AT_SYMLINK_FOLLOW)
                : ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE);
        if (failed != 0) {
            if (errno == EEXIST) refuse_existing();
            throw_errno(Code::kTargetIo, errno, "{}: cannot be put in its place", path_);
        }
        fd_.close(Code::kTargetIo, path_);
        const Fd folder = open_path(folder_, O_RDONLY | O_DIRECTORY, Code::kTargetIo);
        if (::fsync(folder.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", folder_);
    }

  private:
    [[noreturn]] void refuse_existing() const {
        throw_error(Code::kRefused,
                    "{}: is there already, and a tar holds one image; name another, or a folder, which takes "
                    "any number of them",
                    path_);
    }
    void read_back() {
        // Clean after the flush: the kernel lets go of it, and reads it from the medium again.
        static_cast<void>(::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED));
        codec::Sha256Stream digest;
        Bytes buffer(kMiB);
        for (ByteOffset at = 0; at < size_; at += buffer.size()) {
            const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size_ - at));
            pread_exact(fd_.get(), at, part, Code::kTargetIo, path_);
            digest.update(part);
        }
        if (digest.finish() != digest_.finish())
            throw_error(Code::kIntegrity, "{}: what was written reads back as something else", path_);
    }

    std::string path_, folder_, temporary_;
    Fd fd_;
    ByteOffset size_ = 0;
    codec::Sha256Stream digest_;
};

class TarPipe final : public TarOutput {
  public:
    TarPipe(int fd, std::stop_token stop) : fd_(fd), stop_(std::move(stop)) {
        struct stat info {};
        if (::fstat(fd_, &info) != 0) throw_errno(Code::kTargetIo, errno, "{}", kName);
        is_stored_ = !S_ISFIFO(info.st_mode) && !S_ISSOCK(info.st_mode);
        if (!S_ISFIFO(info.st_mode)) return;
        // A description of our own: that it does not block is nobody else's business.
        own_ = Fd(::open(fmt::format("/proc/self/fd/{}", fd_).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
        if (own_.valid()) fd_ = own_.get();
    }

    void append(std::span<const std::byte> bytes) override {
        while (!bytes.empty()) {
            wait();
            const ::ssize_t n = ::write(fd_, bytes.data(), bytes.size());
            if (n > 0)
                bytes = bytes.subspan(static_cast<std::size_t>(n));
            else if (n < 0 && errno == EPIPE)
                throw_error(Code::kTargetIo, "{}: whoever reads it has ended", kName);
            else if (n == 0 || (errno != EINTR && errno != EAGAIN))
                throw_errno(Code::kTargetIo, errno, "{}: cannot be written", kName);
        }
    }
    void commit() override {
        // EINVAL: a character device, which has nothing to flush.
        if (is_stored_ && ::fdatasync(fd_) != 0 && errno != EINVAL)
            throw_errno(Code::kTargetIo, errno, "{}: flush failed", kName);
    }

  private:
    void wait() const {
        constexpr int kLookAgainMs = 200;
        for (;;) {
            if (stop_.stop_requested())
                throw_error(Code::kInterrupted, "stopped on request; the tar is not whole");
            pollfd polled{fd_, POLLOUT, 0};
            const int n = ::poll(&polled, 1, kLookAgainMs);
            if (n > 0) return;
            if (n < 0 && errno != EINTR) throw_errno(Code::kInternal, errno, "poll failed");
        }
    }

    static constexpr const char* kName = "standard output";
    int fd_;
    std::stop_token stop_;
    bool is_stored_ = false;  // redirected to a file or a disk
    Fd own_;
};

}  // namespace

std::unique_ptr<TarOutput> new_tar_file(const std::string& path) {
    return std::make_unique<TarFile>(path);
}

std::unique_ptr<TarOutput> tar_pipe(int fd, std::stop_token stop) {
    return std::make_unique<TarPipe>(fd, std::move(stop));
}

}  // namespace dupengine::image
