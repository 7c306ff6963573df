#include "block/overlay.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <mutex>

#include "base/units.h"
#include "block/transfers.h"

namespace dupengine::block {
namespace {

std::string scratch_folder() {
    const char* folder = std::getenv("TMPDIR");
    // Not /tmp: it may be memory, and what moves out of the tail of a disk may be more than that.
    return folder != nullptr && *folder != '\0' ? folder : "/var/tmp";
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

void refuse_if_full(const std::string& folder, int fd, std::uint64_t room_bytes) {
    struct statvfs room {};
    if (::fstatvfs(fd, &room) != 0) throw_errno(Code::kRefused, errno, "{}: how much is free?", folder);
    const std::uint64_t free_bytes = std::uint64_t{room.f_bavail} * room.f_frsize;
    if (free_bytes < room_bytes)
        throw_error(
            Code::kRefused,
            "{}: {} are free, and the parts of the source that change may take {} there; name a folder "
            "with more room in TMPDIR",
            folder, format_size(free_bytes), format_size(room_bytes));
}

}  // namespace

Overlay::Overlay(const Reader& disk, Extent part, std::string name, std::uint64_t room_bytes)
    : disk_(disk),
      part_(part),
      geometry_(disk.geometry()),
      name_(std::move(name)),
      folder_(scratch_folder()),
      changes_(unlinked_file(folder_)) {
    if (part.end < part.begin || part.end > disk.geometry().size_bytes)
        throw_error(Code::kInternal, "{}: {} lies outside its disk", name_, part.text());
    geometry_.size_bytes = part.size();
    refuse_if_full(folder_, changes_.get(), room_bytes);
}

void Overlay::check(ByteOffset offset, std::size_t size) const {
    const std::uint64_t whole = geometry_.size_bytes;
    if (offset > whole || whole - offset < size)
        throw_error(Code::kInternal, "{}: {} bytes at {} pass its end ({} bytes)", name(), size, offset,
                    whole);
}

// What begins at `at`: changed or not, and how far that goes before `end`.
Overlay::Piece Overlay::piece_at(ByteOffset at, ByteOffset end) const {
    const std::shared_lock lock(mutex_);
    auto next = changed_.upper_bound(at);
    if (next != changed_.begin() && std::prev(next)->second > at)
        return {{at, std::min(end, std::prev(next)->second)}, true};
    return {{at, next == changed_.end() ? end : std::min(end, next->first)}, false};
}

void Overlay::read_pieces(ByteOffset offset, std::span<std::byte> buffer, From from) const {
    check(offset, buffer.size());
    const ByteOffset end = offset + buffer.size();
    for (ByteOffset at = offset; at < end;) {
        const Piece piece = piece_at(at, end);
        const std::span<std::byte> part = buffer.subspan(at - offset, piece.extent.size());
        if (piece.changed)
            pread_exact(changes_.get(), at, part, Code::kSourceIo, folder_);
        else if (from == From::kMedium)
            disk_.read_from_medium(part_.begin + at, part);
        else
            disk_.read(part_.begin + at, part);
        at = piece.extent.end;
    }
}

void Overlay::read(ByteOffset offset, std::span<std::byte> buffer) const {
    read_pieces(offset, buffer, From::kAnywhere);
}

void Overlay::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    read_pieces(offset, buffer, From::kMedium);
}

void Overlay::start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                         std::span<std::byte> buffer, From from) const {
    check(offset, buffer.size());
    const Piece piece = piece_at(offset, offset + buffer.size());
    // Only what lies in the disk alone can be under way as one transfer.
    if (piece.changed || piece.extent.size() != buffer.size())
        return Reader::start_read(transfers, tag, offset, buffer, from);
    disk_.start_read(transfers, tag, part_.begin + offset, buffer, from);
}

Extent Overlay::next_data(Extent within) const {
    within = within.clipped_to({0, geometry_.size_bytes});
    for (ByteOffset at = within.begin; at < within.end;) {
        const Piece piece = piece_at(at, within.end);
        if (piece.changed) return piece.extent;
        const Extent data =
            disk_.next_data({part_.begin + piece.extent.begin, part_.begin + piece.extent.end});
        if (!data.empty()) return {data.begin - part_.begin, data.end - part_.begin};
        at = piece.extent.end;
    }
    return {};
}

void Overlay::write(ByteOffset offset, std::span<const std::byte> buffer) {
    check(offset, buffer.size());
    if (buffer.empty()) return;
    try {
        pwrite_exact(changes_.get(), offset, buffer, Code::kRefused, folder_);
    } catch (Error& e) {
        e.add_context("no room for what changes of the source (name another folder in TMPDIR)");
        throw;
    }
    remember({offset, offset + buffer.size()});
}

// After its bytes are there: who reads meanwhile gets the old ones or the new ones.
void Overlay::remember(Extent extent) {
    const std::unique_lock lock(mutex_);
    auto first = changed_.upper_bound(extent.begin);
    if (first != changed_.begin() && std::prev(first)->second >= extent.begin) --first;
    auto last = first;
    for (; last != changed_.end() && last->first <= extent.end; ++last) {
        extent.begin = std::min(extent.begin, last->first);
        extent.end = std::max(extent.end, last->second);
    }
    changed_.erase(first, last);
    changed_.emplace(extent.begin, extent.end);
}

void Overlay::settle() {
    if (::fsync(changes_.get()) != 0)
        throw_errno(Code::kRefused, errno,
                    "{}: what changes of the source could not be kept there (name another folder in TMPDIR)",
                    folder_);
}

std::uint64_t Overlay::changed_bytes() const {
    const std::shared_lock lock(mutex_);
    std::uint64_t sum = 0;
    for (const auto& [begin, end] : changed_)
        sum += end - begin;
    return sum;
}

}  // namespace dupengine::block
