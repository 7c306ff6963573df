#include "block/hole_map.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"

namespace dupengine::block {

HoleMap::HoleMap(int fd, std::uint64_t size_bytes, Code code, std::string name)
    : fd_(fd), size_bytes_(size_bytes), code_(code), name_(std::move(name)) {}

ByteOffset HoleMap::find_data(ByteOffset from) const {
    const off_t data = ::lseek(fd_, static_cast<off_t>(from), SEEK_DATA);
    if (data >= 0) return static_cast<ByteOffset>(data);
    if (errno != ENXIO) return from;
    // Nothing but a hole up to the end of the file, if that is still where it was.
    struct stat st {};
    if (::fstat(fd_, &st) != 0 || static_cast<std::uint64_t>(st.st_size) < size_bytes_)
        throw_error(code_, "{}: was cut to {} bytes while it was in use", name_, st.st_size);
    return size_bytes_;
}

ByteOffset HoleMap::find_hole(ByteOffset from) const {
    const off_t hole = ::lseek(fd_, static_cast<off_t>(from), SEEK_HOLE);
    return hole < 0 ? size_bytes_ : static_cast<ByteOffset>(hole);
}

bool HoleMap::has_data(Extent within) const {
    return !within.empty() && find_data(within.begin) < within.end;
}

Extent HoleMap::next_data(Extent within) {
    // Bounds the memory for a file of many small runs.
    constexpr std::size_t kMostRuns = 4096;
    if (within.empty()) return {};
    const std::lock_guard lock(mutex_);
    const Extent known = data_.first_in(within);
    if (!known.empty() && known.begin == within.begin) return known;
    within.begin = find_data(within.begin);
    if (within.empty()) return {};
    if (const Extent run = data_.first_in(within); !run.empty() && run.begin == within.begin) return run;
    if (data_.count() >= kMostRuns) data_.clear();
    data_.insert({within.begin, find_hole(within.begin)});
    return data_.first_in(within);
}

void HoleMap::forget(Extent extent) {
    const std::lock_guard lock(mutex_);
    data_.erase(extent);
}

}  // namespace dupengine::block
