#include "efi/core/bytes.h"

#include <array>

namespace dupengine::efi {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit)
            value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0);
        table[i] = value;
    }
    return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

}  // namespace

std::uint32_t crc32(Bytes bytes) {
    std::uint32_t value = 0xFFFFFFFF;
    for (std::byte b : bytes)
        value = kTable[(value ^ std::to_integer<std::uint32_t>(b)) & 0xFF] ^ (value >> 8);
    return ~value;
}

}  // namespace dupengine::efi
