#include "base/bytes.h"

#include <array>

namespace dupengine {

bool is_zero(std::span<const std::byte> bytes) {
    // A few bytes by hand, then "equal to itself shifted by those bytes": memcmp does the rest at full speed.
    constexpr std::size_t kProbe = 16;
    for (std::size_t i = 0; i < std::min(kProbe, bytes.size()); ++i)
        if (bytes[i] != std::byte{0}) return false;
    if (bytes.size() <= kProbe) return true;
    return std::memcmp(bytes.data(), bytes.data() + kProbe, bytes.size() - kProbe) == 0;
}

std::string to_hex(std::span<const std::byte> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (std::byte b : bytes) {
        text += kDigits[std::to_integer<unsigned>(b) >> 4];
        text += kDigits[std::to_integer<unsigned>(b) & 15];
    }
    return text;
}

namespace {

unsigned hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    throw_error(Code::kUsage, "'{}' is not a hexadecimal digit", c);
}

constexpr std::array<std::uint32_t, 256> make_crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit)
            value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0u);
        table[i] = value;
    }
    return table;
}

constexpr auto kCrcTable = make_crc_table();

}  // namespace

Bytes from_hex(std::string_view text) {
    if (text.size() % 2 != 0) throw_error(Code::kUsage, "an odd number of hexadecimal digits");
    Bytes bytes(text.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = std::byte(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return bytes;
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
    std::uint32_t value = ~0u;
    for (std::byte b : bytes)
        value = (value >> 8) ^ kCrcTable[(value ^ std::to_integer<std::uint32_t>(b)) & 255];
    return ~value;
}

}  // namespace dupengine
