#include "image/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace dupengine::image {
namespace {

void sync_folder(const std::string& path) {
    const Fd folder = open_path(path, O_RDONLY | O_DIRECTORY, Code::kTargetIo);
    if (::fsync(folder.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", path);
}

::mode_t creation_mask() {
    // It can only be learned by changing it, which is of the whole process: once.
    static const ::mode_t mask = [] {
        const ::mode_t old = ::umask(022);
        ::umask(old);
        return old;
    }();
    return mask;
}

std::string folder_of(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    return folder.empty() ? "." : folder;
}

}  // namespace

NewFile::NewFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".new-XXXXXX") {
    fd_ = Fd(::mkostemp(temporary_.data(), O_CLOEXEC));
    if (!fd_.valid()) throw_errno(Code::kTargetIo, errno, "{}: cannot be made", path_);
}

NewFile::~NewFile() {
    if (fd_.valid()) static_cast<void>(::unlink(temporary_.c_str()));
}

void NewFile::append(std::span<const std::byte> bytes) {
    constexpr std::size_t kPiece = kMiB;
    for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
        const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
        pwrite_exact(fd_.get(), size_, piece, Code::kTargetIo, path_);
        appended_.push_back({size_, piece.size(), codec::xxh128(piece)});
        size_ += piece.size();
    }
}

void NewFile::replace(ByteOffset offset, std::span<const std::byte> bytes) {
    const auto piece = std::ranges::find(appended_, offset, &Piece::offset);
    if (piece == appended_.end() || piece->bytes != bytes.size())
        throw_error(Code::kInternal, "{}: nothing of {} bytes at {} to replace", path_, bytes.size(), offset);
    pwrite_exact(fd_.get(), offset, bytes, Code::kTargetIo, path_);
    piece->digest = codec::xxh128(bytes);
}

void NewFile::read_back() {
    // Clean after the flush: the kernel lets go of what it holds of it, and reads it from the medium again.
    static_cast<void>(::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED));
    Bytes buffer;
    for (const Piece& piece : appended_) {
        buffer.resize(piece.bytes);
        pread_exact(fd_.get(), piece.offset, buffer, Code::kTargetIo, path_);
        if (codec::xxh128(buffer) != piece.digest)
            throw_error(Code::kIntegrity, "{}: what was written reads back as something else", path_);
    }
}

void NewFile::commit() {
    // mkostemp makes files that nobody else may read; a store is for whoever may look into its folder.
    if (::fchmod(fd_.get(), 0666 & ~creation_mask()) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: mode", path_);
    if (::fdatasync(fd_.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", path_);
    read_back();
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be put in its place", path_);
    fd_.close(Code::kTargetIo, path_);
    sync_folder(folder_of(path_));
}

void make_folder(const std::string& path) {
    if (::mkdir(path.c_str(), 0777) == 0) {
        sync_folder(folder_of(path));
        return;
    }
    const int error = errno;
    struct stat info {};
    if (error == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return;
    throw_errno(Code::kTargetIo, error, "{}: the folder cannot be made", path);
}

}  // namespace dupengine::image
