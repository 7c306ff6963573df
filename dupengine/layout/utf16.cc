#include "layout/utf16.h"

namespace dupengine::layout {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

constexpr bool is_high(char32_t unit) {
    return unit >= 0xD800 && unit < 0xDC00;
}
constexpr bool is_low(char32_t unit) {
    return unit >= 0xDC00 && unit < 0xE000;
}

void append_utf8(std::string& text, char32_t point) {
    const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (point >> shift & 0x3F)); };
    if (point < 0x80) {
        text += static_cast<char>(point);
    } else if (point < 0x800) {
        text += static_cast<char>(0xC0 | point >> 6);
        tail(0);
    } else if (point < 0x10000) {
        text += static_cast<char>(0xE0 | point >> 12);
        tail(6);
        tail(0);
    } else {
        text += static_cast<char>(0xF0 | point >> 18);
        tail(12);
        tail(6);
        tail(0);
    }
}

// Takes one code point off the front of UTF-8 text (RFC 3629: no overlong forms, no surrogates). NUL
// would end the name early.
char32_t take_utf8(std::string_view& text) {
    const auto bad = [] { throw_error(Code::kRefused, "the name is not valid UTF-8"); };
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t size = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (size == 0 || first > 0xF4 || text.size() < size) bad();
    constexpr unsigned kMask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    char32_t point = first & kMask[size];
    for (std::size_t i = 1; i < size; ++i) {
        const auto next = static_cast<unsigned char>(text[i]);
        if ((next & 0xC0) != 0x80) bad();
        point = point << 6 | (next & 0x3F);
    }
    if ((size == 3 && point < 0x800) || (size == 4 && point < 0x10000) || point > 0x10FFFF) bad();
    if (point == 0 || is_high(point) || is_low(point)) bad();
    text.remove_prefix(size);
    return point;
}

}  // namespace

Utf16Text utf8_from_utf16(std::span<const std::byte> units) {
    Utf16Text result;
    for (std::size_t at = 0; at + 2 <= units.size(); at += 2) {
        char32_t point = load_le<std::uint16_t>(units, at);
        if (point == 0) break;
        if (is_high(point) && at + 4 <= units.size() && is_low(load_le<std::uint16_t>(units, at + 2))) {
            at += 2;
            point = 0x10000 + ((point - 0xD800) << 10) + (load_le<std::uint16_t>(units, at) - 0xDC00u);
        } else if (is_high(point) || is_low(point)) {
            point = kReplacement;
            result.damaged = true;
        }
        append_utf8(result.utf8, point);
    }
    return result;
}

Bytes utf16_from_utf8(std::string_view text) {
    Bytes units;
    const auto put = [&](char32_t unit) {
        units.push_back(std::byte(unit & 0xFF));
        units.push_back(std::byte(unit >> 8));
    };
    while (!text.empty()) {
        const char32_t point = take_utf8(text);
        if (point >= 0x10000) {
            put(0xD800 + ((point - 0x10000) >> 10));
            put(0xDC00 + ((point - 0x10000) & 0x3FF));
        } else {
            put(point);
        }
    }
    return units;
}

}  // namespace dupengine::layout
