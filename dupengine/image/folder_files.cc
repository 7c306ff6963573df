// The files of a store below a folder. The last few that were read stay open.

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <list>
#include <mutex>

#include "base/fd.h"
#include "image/files.h"

namespace dupengine::image {
namespace {

class FolderFiles final : public Files {
  public:
    explicit FolderFiles(const std::string& path)
        : name_(path), folder_(open_path(path, O_RDONLY | O_DIRECTORY, Code::kRefused)) {}

    const std::string& name() const override { return name_; }

    std::optional<std::uint64_t> size_of(const std::string& file) const override {
        const auto fd = open(file);
        if (!fd) return std::nullopt;
        struct stat info {};
        if (::fstat(fd->get(), &info) != 0) throw_errno(Code::kSourceIo, errno, "{}/{}", name_, file);
        return static_cast<std::uint64_t>(info.st_size);
    }

    void read(const std::string& file, ByteOffset offset, std::span<std::byte> buffer) const override {
        const auto fd = open(file);
        if (!fd) throw_error(Code::kIntegrity, "{}: {} is missing", name_, file);
        const ::ssize_t got = ::pread(fd->get(), buffer.data(), buffer.size(), static_cast<::off_t>(offset));
        if (got == static_cast<::ssize_t>(buffer.size())) return;
        struct stat info {};
        if (::fstat(fd->get(), &info) == 0 &&
            static_cast<std::uint64_t>(info.st_size) < offset + buffer.size())
            throw_error(Code::kIntegrity, "{}: {} is cut off at byte {}", name_, file, info.st_size);
        pread_exact(fd->get(), offset, buffer, Code::kSourceIo, name_ + "/" + file);
    }

  private:
    // Null if there is none.
    std::shared_ptr<const Fd> open(const std::string& file) const {
        const std::scoped_lock lock(mutex_);
        for (auto at = open_.begin(); at != open_.end(); ++at)
            if (at->file == file) {
                open_.splice(open_.begin(), open_, at);
                return at->fd;
            }
        Fd fd(::openat(folder_.get(), file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
        if (!fd.valid()) {
            if (errno == ENOENT) return nullptr;
            throw_errno(Code::kSourceIo, errno, "{}/{}", name_, file);
        }
        struct stat info {};
        if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))
            throw_error(Code::kIntegrity, "{}/{} is no regular file", name_, file);
        open_.push_front({file, std::make_shared<const Fd>(std::move(fd))});
        constexpr std::size_t kMostOpen = 16;
        if (open_.size() > kMostOpen) open_.pop_back();
        return open_.front().fd;
    }

    struct Open {
        std::string file;
        std::shared_ptr<const Fd> fd;
    };
    std::string name_;
    Fd folder_;
    mutable std::mutex mutex_;
    mutable std::list<Open> open_;  // the one used last first
};

}  // namespace

std::unique_ptr<Files> open_folder(const std::string& path) {
    return std::make_unique<FolderFiles>(path);
}

}  // namespace dupengine::image
