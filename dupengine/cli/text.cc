#include "cli/text.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace dupengine::cli {
namespace {

struct Character {
    char32_t code = 0;
    std::size_t bytes = 1;
    bool valid = false;
};

// The first character of `text` (RFC 3629: shortest form, no surrogates, up to U+10FFFF). Not valid: one byte
// of it.
Character first_character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return {lead, 1, true};
    const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return {};
    char32_t code = lead & (0xFFu >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return {};
        code = code << 6 | (byte(i) & 0x3Fu);
    }
    constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[bytes] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
    return {code, bytes, true};
}

struct Range {
    char32_t first, last;
};

template <std::size_t N>
bool is_in(const std::array<Range, N>& ranges, char32_t code) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [&](Range r) { return r.first <= code && code <= r.last; });
}

// C0 and C1 controls, line and paragraph separators, and the marks that reorder text (UAX #9).
constexpr std::array<Range, 6> kHarmful = {
    {{0, 0x1F}, {0x7F, 0x9F}, {0x200E, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F}, {0xFFF0, 0xFFFB}}};
// Combining marks and joiners of the common scripts.
constexpr std::array<Range, 7> kNarrow = {{{0x300, 0x36F},
                                           {0x483, 0x489},
                                           {0x591, 0x5BD},
                                           {0x610, 0x61A},
                                           {0x200B, 0x200D},
                                           {0x20D0, 0x20FF},
                                           {0xFE00, 0xFE2F}}};
// East Asian Wide and Fullwidth (UAX #11), and emoji.
constexpr std::array<Range, 8> kWide = {{{0x1100, 0x115F},
                                         {0x2E80, 0xA4CF},
                                         {0xAC00, 0xD7A3},
                                         {0xF900, 0xFAFF},
                                         {0xFE30, 0xFE6F},
                                         {0xFF00, 0xFF60},
                                         {0x1F300, 0x1FAFF},
                                         {0x20000, 0x3FFFD}}};

std::size_t columns_of(char32_t code) {
    return is_in(kNarrow, code) ? 0 : is_in(kWide, code) ? 2 : 1;
}

}  // namespace

std::string printable(std::string_view text, Charset charset) {
    std::string clean;
    while (!text.empty()) {
        const Character c = first_character(text);
        const bool shown =
            c.valid && !is_in(kHarmful, c.code) && (charset == Charset::kUtf8 || c.code < 0x80);
        clean += shown ? text.substr(0, c.bytes) : std::string_view("?");
        text.remove_prefix(c.bytes);
    }
    return clean;
}

std::size_t columns_of(std::string_view text) {
    std::size_t columns = 0;
    while (!text.empty()) {
        const Character c = first_character(text);
        columns += columns_of(c.code);
        text.remove_prefix(c.bytes);
    }
    return columns;
}

std::string repeated(std::string_view text, std::size_t times) {
    std::string result;
    result.reserve(text.size() * times);
    for (std::size_t i = 0; i < times; ++i)
        result += text;
    return result;
}

std::string fitted(std::string_view text, std::size_t columns, Charset charset) {
    const std::size_t needed = columns_of(text);
    if (needed <= columns) return std::string(text) + std::string(columns - needed, ' ');
    const bool ellipsis = columns >= 4;
    const std::size_t room = columns - (ellipsis ? 1 : 0);
    std::size_t used = 0, bytes = 0;
    while (bytes < text.size()) {
        const Character c = first_character(text.substr(bytes));
        if (used + columns_of(c.code) > room) break;
        used += columns_of(c.code);
        bytes += c.bytes;
    }
    std::string cut(text.substr(0, bytes));
    if (ellipsis) cut += charset == Charset::kUtf8 ? "…" : "~";
    return cut + std::string(room - used, ' ');
}

}  // namespace dupengine::cli
