#include "base/secret.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace dupengine {

Secret::Secret(std::size_t size) : size_(size), room_(std::max<std::size_t>(size, 1)) {
    void* const pages = ::mmap(nullptr, room_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw_errno(Code::kRefused, errno, "no memory for a key of {} bytes", size);
    data_ = static_cast<std::byte*>(pages);
    // Who may not lock memory (RLIMIT_MEMLOCK) has keys as well; the other two always succeed.
    static_cast<void>(::mlock(pages, room_));
    static_cast<void>(::madvise(pages, room_, MADV_DONTDUMP));
    static_cast<void>(::madvise(pages, room_, MADV_DONTFORK));
}

Secret::~Secret() {
    if (data_ == nullptr) return;
    ::explicit_bzero(data_, room_);
    ::munmap(data_, room_);
}

void Secret::shorten(std::size_t size) {
    if (size >= size_) return;
    ::explicit_bzero(data_ + size, size_ - size);
    size_ = size;
}

void forbid_core_dumps() {
    static_cast<void>(::prctl(PR_SET_DUMPABLE, 0));
}

}  // namespace dupengine
