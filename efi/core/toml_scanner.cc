#include "efi/core/toml_scanner.h"

namespace dupengine::efi {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

// The value of a digit in any base up to 16, or 16.
unsigned digit_value(char c) {
    if (is_digit(c)) return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
    return 16;
}

void add_utf8(std::uint32_t code, TomlString& into) {
    const auto byte = [&](std::uint32_t bits) { into.add(static_cast<char>(bits)); };
    if (code < 0x80) return byte(code);
    if (code < 0x800) {
        byte(0xc0 | (code >> 6));
    } else {
        if (code < 0x10000) {
            byte(0xe0 | (code >> 12));
        } else {
            byte(0xf0 | (code >> 18));
            byte(0x80 | ((code >> 12) & 0x3f));
        }
        byte(0x80 | ((code >> 6) & 0x3f));
    }
    byte(0x80 | (code & 0x3f));
}

// "-5", "1_000", "0xff": false if the word is no integer.
bool integer(TextView word, std::int64_t& into) {
    const bool negative = word.starts_with("-");
    if (negative || word.starts_with("+")) word = word.after(1);
    unsigned base = 10;
    if (word.starts_with("0x")) base = 16;
    if (word.starts_with("0o")) base = 8;
    if (word.starts_with("0b")) base = 2;
    if (base != 10) word = word.after(2);
    if (word.empty()) return false;
    std::int64_t value = 0;
    for (char c : word) {
        if (c == '_') continue;
        const unsigned digit = digit_value(c);
        if (digit >= base) return false;
        if (__builtin_mul_overflow(value, std::int64_t{base}, &value)) return false;
        const std::int64_t step = negative ? -std::int64_t{digit} : std::int64_t{digit};
        if (__builtin_add_overflow(value, step, &value)) return false;
    }
    into = value;
    return true;
}

}  // namespace

bool TomlScanner::take(char c) {
    if (at_end() || here() != c) return false;
    pass();
    return true;
}

void TomlScanner::skip_blanks() {
    while (here() == ' ' || here() == '\t')
        pass();
}

void TomlScanner::skip_lines() {
    while (!at_end()) {
        skip_blanks();
        if (here() == '#')
            while (!at_end() && here() != '\n')
                pass();
        if (here() != '\n' && here() != '\r') return;
        pass();
    }
}

bool TomlScanner::end_line() {
    skip_blanks();
    return at_end() || here() == '#' || here() == '\n' || (here() == '\r' && here(1) == '\n');
}

void TomlScanner::pass_newline() {
    if (here() == '\r' && here(1) == '\n') pass();
    if (here() == '\n') pass();
}

bool TomlScanner::code_point(unsigned digits, TomlString& into) {
    std::uint32_t code = 0;
    for (unsigned i = 0; i < digits; ++i, pass()) {
        const unsigned digit = digit_value(here());
        if (digit > 15) return false;
        code = code * 16 + digit;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    add_utf8(code, into);
    return true;
}

// What follows a backslash.
bool TomlScanner::escape(TomlString& into, bool multi_line) {
    const char c = here();
    if (multi_line && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) {
        // A backslash at the end of a line takes away all blanks up to the next text.
        while (here() == ' ' || here() == '\t' || here() == '\r' || here() == '\n')
            pass();
        return true;
    }
    pass();
    switch (c) {
        case 'b':
            return into.add('\b'), true;
        case 't':
            return into.add('\t'), true;
        case 'n':
            return into.add('\n'), true;
        case 'f':
            return into.add('\f'), true;
        case 'r':
            return into.add('\r'), true;
        case '"':
        case '\\':
            return into.add(c), true;
        case 'u':
            return code_point(4, into);
        case 'U':
            return code_point(8, into);
        default:
            return false;
    }
}

bool TomlScanner::string(TomlString& into, bool multi_line) {
    into.clear();
    const char quote = here();
    multi_line = multi_line && triple(quote);
    pass(multi_line ? 3 : 1);
    if (multi_line) pass_newline();
    while (!at_end()) {
        if (multi_line ? triple(quote) : here() == quote) {
            // Up to two quotes may stand before the three that end it.
            while (multi_line && here(3) == quote) {
                into.add(quote);
                pass();
            }
            pass(multi_line ? 3 : 1);
            return true;
        }
        if (!multi_line && here() == '\n') return false;
        if (quote == '"' && here() == '\\') {
            pass();
            if (!escape(into, multi_line)) return false;
            continue;
        }
        into.add(here());
        pass();
    }
    return false;
}

bool TomlScanner::bare_key(TomlString& into) {
    into.clear();
    for (; is_word(here()); pass())
        into.add(here());
    return !into.empty();
}

bool TomlScanner::plain(TomlValue& into) {
    const std::size_t begin = at_;
    const auto in_word = [&] { return is_word(here()) || here() == '+' || here() == '.' || here() == ':'; };
    while (in_word())
        pass();
    // A date and a time may have a blank between them.
    if (at_ - begin == 10 && text_[begin + 4] == '-' && here() == ' ' && is_digit(here(1))) {
        pass();
        while (in_word())
            pass();
    }
    const TextView word = text_.after(begin).first(at_ - begin);
    if (word.empty()) return false;
    into = {};
    if (word == "true" || word == "false") {
        into.kind = TomlValue::Kind::kBoolean;
        into.integer = word == "true" ? 1 : 0;
    } else if (integer(word, into.integer)) {
        into.kind = TomlValue::Kind::kInteger;
    }
    return true;
}

}  // namespace dupengine::efi
