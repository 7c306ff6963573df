// What compilers and the C++ library call without being asked to, and no library here defines.

#include <cstddef>

extern "C" {

void* memcpy(void* to, const void* from, std::size_t count) {
    void* const start = to;
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return start;
}

void* memmove(void* to, const void* from, std::size_t count) {
    auto* out = static_cast<unsigned char*>(to);
    const auto* in = static_cast<const unsigned char*>(from);
    if (out <= in) return memcpy(to, from, count);
    while (count-- > 0) {
        out[count] = in[count];
        asm volatile("");  // or the compiler sees a memmove in this loop
    }
    return to;
}

void* memset(void* to, int value, std::size_t count) {
    void* const start = to;
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
    return start;
}

int memcmp(const void* a, const void* b, std::size_t count) {
    const auto* left = static_cast<const unsigned char*>(a);
    const auto* right = static_cast<const unsigned char*>(b);
    for (std::size_t i = 0; i < count; ++i) {
        if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
        asm volatile("");
    }
    return 0;
}

}  // extern "C"

namespace std {

// An assertion of the library failed: an index that passes an end. Nothing can be believed any more; the
// processor's exception shows where, and firmware stops.
void __glibcxx_assert_fail(const char*, int, const char*, const char*) noexcept {
    __builtin_trap();
}

}  // namespace std
