#include "base/guid.h"

#include <algorithm>

namespace dupengine {
namespace {

// Text position -> disk position: the fields of 4, 2 and 2 bytes are stored the other way round.
constexpr std::array<std::size_t, 16> kDiskOrder = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

}  // namespace

std::string Guid::text() const {
    std::array<std::byte, 16> ordered;
    for (std::size_t i = 0; i < 16; ++i)
        ordered[i] = bytes[kDiskOrder[i]];
    std::string text = to_hex(ordered);
    for (std::size_t at : {8, 13, 18, 23})
        text.insert(at, 1, '-');
    return text;
}

Guid Guid::parse(std::string_view text) {
    const auto bad = [&] {
        throw_error(Code::kUsage, "'{}' is not a GUID (8-4-4-4-12 hexadecimal digits)", text);
    };
    if (text.size() != 36) bad();
    for (std::size_t at : {8, 13, 18, 23})
        if (text[at] != '-') bad();
    std::string digits;
    for (std::size_t i = 0; i < text.size(); ++i)
        if (i != 8 && i != 13 && i != 18 && i != 23) digits += text[i];
    const bool all_hex =
        std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
    if (!all_hex) bad();
    const Bytes ordered = from_hex(digits);
    Guid guid;
    for (std::size_t i = 0; i < 16; ++i)
        guid.bytes[kDiskOrder[i]] = ordered[i];
    return guid;
}

Guid Guid::from_disk(std::span<const std::byte> bytes) {
    if (bytes.size() < 16) throw_error(Code::kIntegrity, "a GUID of {} bytes", bytes.size());
    Guid guid;
    std::copy_n(bytes.begin(), 16, guid.bytes.begin());
    return guid;
}

Guid Guid::from_entropy(std::span<const std::byte, 16> entropy) {
    Guid guid;
    std::copy(entropy.begin(), entropy.end(), guid.bytes.begin());
    guid.bytes[7] = (guid.bytes[7] & std::byte{0x0f}) | std::byte{0x40};  // version, in disk order
    guid.bytes[8] = (guid.bytes[8] & std::byte{0x3f}) | std::byte{0x80};  // variant
    return guid;
}

}  // namespace dupengine
