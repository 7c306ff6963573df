#include "block/scratch_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/temporary_folder.h"
#include "base/units.h"

namespace dupengine::block {
namespace {

// Not /tmp: it may be memory, and what comes here may be more than that.
std::string scratch_folder() {
    return temporary_place("/var/tmp");
}

// Without a name from the beginning, where the file system can do that.
Fd unlinked_file(const std::string& folder) {
    const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return Fd(fd);
    std::string path = folder + "/dupengine-XXXXXX";
    Fd named(::mkostemp(path.data(), O_CLOEXEC));
    if (!named.valid())
        throw_errno(Code::kRefused, errno,
                    "{}: no temporary file can be made there; name another folder in TMPDIR", folder);
    ::unlink(path.c_str());
    return named;
}

}  // namespace

ScratchFile::ScratchFile(std::string what)
    : what_(std::move(what)), folder_(scratch_folder()), fd_(unlinked_file(folder_)) {}

std::uint64_t ScratchFile::free_bytes() const {
    struct statvfs room {};
    if (::fstatvfs(fd_.get(), &room) != 0)
        throw_errno(Code::kRefused, errno, "{}: how much is free?", folder_);
    return std::uint64_t{room.f_bavail} * room.f_frsize;
}

void ScratchFile::need(std::uint64_t bytes) const {
    const std::uint64_t free = free_bytes();
    if (free < bytes)
        throw_error(Code::kRefused,
                    "{}: {} are free, and {} may take {} there; name a folder with more room in TMPDIR",
                    folder_, format_size(free), what_, format_size(bytes));
}

void ScratchFile::extend_to(std::uint64_t bytes) const {
    if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0)
        throw_errno(Code::kRefused, errno,
                    "{}: no file of {} bytes for {} there (name another folder in TMPDIR)", folder_, bytes,
                    what_);
}

void ScratchFile::write(ByteOffset offset, std::span<const std::byte> bytes) const {
    try {
        pwrite_exact(fd_.get(), offset, bytes, Code::kRefused, folder_);
    } catch (Error& e) {
        e.add_context(fmt::format("no room for {} (name another folder in TMPDIR)", what_));
        throw;
    }
}

void ScratchFile::read(ByteOffset offset, std::span<std::byte> buffer) const {
    pread_exact(fd_.get(), offset, buffer, Code::kSourceIo, folder_);
}

void ScratchFile::settle() const {
    if (::fsync(fd_.get()) != 0)
        throw_errno(Code::kRefused, errno, "{}: {} could not be kept there (name another folder in TMPDIR)",
                    folder_, what_);
}

void ScratchFile::forget(Extent extent) const {
    if (extent.empty()) return;
    static_cast<void>(::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  static_cast<off_t>(extent.begin), static_cast<off_t>(extent.size())));
}

}  // namespace dupengine::block
