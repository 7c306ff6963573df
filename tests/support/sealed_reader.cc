#include "tests/support/sealed_reader.h"

#include <array>

namespace dupengine::test {
namespace {

// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), a second implementation to hold the first against.
std::uint32_t crc32c(std::span<const std::byte> bytes) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> made{};
        for (std::uint32_t i = 0; i < made.size(); ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit)
                value = (value & 1) != 0 ? value >> 1 ^ 0x82F63B78u : value >> 1;
            made[i] = value;
        }
        return made;
    }();
    std::uint32_t crc = ~0u;
    for (std::byte b : bytes)
        crc = table[(crc ^ std::to_integer<std::uint32_t>(b)) & 0xFF] ^ crc >> 8;
    return ~crc;
}

}  // namespace

void SealedReader::read(ByteOffset offset, std::span<std::byte> buffer) const {
    disk_.read(offset, buffer);
    if (buffer.size() >= 4 * kKiB && buffer.size() <= 64 * kKiB)
        store_le<std::uint32_t>(buffer, 0, crc32c(buffer.subspan(32)));
}

}  // namespace dupengine::test
