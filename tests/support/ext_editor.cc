#include "tests/support/ext_editor.h"

#include <array>

namespace dupengine::test {
namespace {

// CRC-32C without the final inversion, as ext4 uses it.
std::uint32_t crc32c(std::uint32_t crc, std::span<const std::byte> bytes) {
    for (std::byte b : bytes) {
        crc ^= std::to_integer<std::uint32_t>(b);
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    }
    return crc;
}

}  // namespace

void ExtEditor::seal_super() {
    store_le<std::uint32_t>(image_, kSuper + 0x3FC, crc32c(~0u, image_.subspan(kSuper, 0x3FC)));
}

void ExtEditor::seal_descriptor(std::uint32_t group) {
    constexpr std::size_t kChecksum = 0x1E;
    const std::size_t at = descriptor_at(group);
    std::array<std::byte, 4> number{};
    store_le<std::uint32_t>(number, 0, group);
    store_le<std::uint16_t>(image_, at + kChecksum, 0);
    std::uint32_t crc = crc32c(~0u, image_.subspan(kSuper + 0x68, 16));  // seeded with the UUID
    crc = crc32c(crc32c(crc, number), image_.subspan(at, 64));
    store_le<std::uint16_t>(image_, at + kChecksum, static_cast<std::uint16_t>(crc));
}

}  // namespace dupengine::test
