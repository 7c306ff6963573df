#include "machine/page_room.h"

#include <sys/mman.h>

#include "base/error.h"
#include "codec/page_path.h"

namespace dupengine::machine {

using codec::kPageBytes;

PageRoom::PageRoom(std::uint64_t pages)
    : bytes_all_(static_cast<std::size_t>(checked_mul(pages, kPageBytes, "memory"))), pages_(pages) {
    if (pages == 0) return;
    void* room = ::mmap(nullptr, bytes_all_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) throw_errno(Code::kUnsupported, errno, "no room for {} pages of memory", pages);
    bytes_ = static_cast<std::byte*>(room);
}

PageRoom::~PageRoom() {
    if (bytes_ != nullptr) ::munmap(bytes_, bytes_all_);
}

std::span<std::byte> PageRoom::page(std::uint64_t number) const {
    if (number >= pages_) throw_error(Code::kInternal, "page {} of {}", number, pages_);
    return all().subspan(number * kPageBytes, kPageBytes);
}

void PageRoom::forget(std::uint64_t first, std::uint64_t count) {
    if (count == 0) return;
    if (first > pages_ || count > pages_ - first) throw_error(Code::kInternal, "pages {}+{}", first, count);
    ::madvise(bytes_ + first * kPageBytes, count * kPageBytes, MADV_DONTNEED);
}

}  // namespace dupengine::machine
