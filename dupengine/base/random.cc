#include "base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace dupengine {

Guid RandomSource::guid() {
    std::array<std::byte, 16> entropy;
    fill(entropy);
    return Guid::from_entropy(entropy);
}

void SystemRandom::fill(std::span<std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::getrandom(bytes.data(), bytes.size(), 0);
        if (n < 0 && errno != EINTR)
            throw_errno(Code::kUnsupported, errno, "no random bytes from the kernel");
        if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
}

std::uint64_t SeededRandom::next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void SeededRandom::fill(std::span<std::byte> bytes) {
    while (!bytes.empty()) {
        const std::uint64_t value = next();
        const std::size_t n = std::min(bytes.size(), sizeof value);
        std::memcpy(bytes.data(), &value, n);
        bytes = bytes.subspan(n);
    }
}

}  // namespace dupengine
