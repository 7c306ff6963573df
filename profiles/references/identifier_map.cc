#include "profiles/references/identifier_map.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace dupengine::profiles {
namespace {

constexpr std::size_t kUuidLength = 36;
constexpr std::string_view kEscapedDash = "\\x2d";

std::string to_case(std::string text, bool upper) {
    for (char& c : text) {
        if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
        if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

std::string escaped(const std::string& text) {
    std::string result;
    for (const char c : text)
        c == '-' ? result += kEscapedDash : result += c;
    return result;
}

std::string widened(const std::string& text) {
    std::string result;
    for (const char c : text)
        (result += c) += '\0';
    return result;
}

bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

unsigned pair_at(std::string_view text, std::size_t offset) {
    return static_cast<unsigned char>(text[offset]) |
           static_cast<unsigned>(static_cast<unsigned char>(text[offset + 1])) << 8;
}

// "\x2f" and the like: what precedes is an escaped separator, not a word.
bool ends_in_escape(std::string_view text) {
    return text.size() >= 4 && text[text.size() - 4] == '\\' && text[text.size() - 3] == 'x';
}

}  // namespace

void IdentifierMap::add(const std::string& before, const std::string& after) {
    if (before.size() != after.size() || before.size() < kShortest)
        throw_error(Code::kInternal, "identifier {} cannot become {}", before, after);
    if (to_case(before, false) == to_case(after, false)) return;
    const bool bounded = before.size() < kUuidLength;
    for (const bool upper : {false, true}) {
        const std::string old_text = to_case(before, upper), new_text = to_case(after, upper);
        add_pattern({old_text, new_text, before, bounded, false});
        add_pattern({escaped(old_text), escaped(new_text), before, bounded, false});
        add_pattern({widened(old_text), widened(new_text), before, bounded, true});
    }
    index();
}

void IdentifierMap::add_pattern(Pattern pattern) {
    // Digits alone have one case, and no dash means nothing to escape. The dashes of the new one are at the
    // same places.
    for (const Pattern& known : patterns_)
        if (known.before == pattern.before) return;
    if (pattern.before.size() != pattern.after.size())
        throw_error(Code::kInternal, "identifier {} has other dashes than {}", pattern.before, pattern.after);
    patterns_.push_back(std::move(pattern));
}

void IdentifierMap::index() {
    window_ = std::numeric_limits<std::uint8_t>::max();
    for (const Pattern& pattern : patterns_)
        window_ = std::min(window_, pattern.before.size());
    jump_.assign(65536, static_cast<std::uint8_t>(window_ - 1));
    ending_.assign(256, {});
    for (std::size_t p = 0; p < patterns_.size(); ++p) {
        for (std::size_t i = 0; i + 1 < window_; ++i) {
            std::uint8_t& jump = jump_[pair_at(patterns_[p].before, i)];
            jump = std::min(jump, static_cast<std::uint8_t>(window_ - 2 - i));
        }
        ending_[pair_at(patterns_[p].before, window_ - 2) & 255].push_back(static_cast<std::uint16_t>(p));
    }
}

bool IdentifierMap::stands_alone(std::string_view text, std::size_t offset, const Pattern& pattern) const {
    if (!pattern.bounded) return true;
    const std::size_t step = pattern.wide ? 2 : 1, end = offset + pattern.before.size();
    const bool has_dash = pattern.before.find('-') != std::string::npos;
    // "1234-ABCD" may be the middle of a UUID. Without dashes ("\\x2d" in an escaped name, where '-' stands
    // for '/'; a machine-id before "-6.1.conf") a dash ends the word.
    const auto goes_on = [&](char c) { return is_word(c) || (c == '-' && has_dash); };
    if (offset >= step && goes_on(text[offset - step]) && !ends_in_escape(text.substr(0, offset)))
        return false;
    if (end < text.size() && goes_on(text[end])) return false;
    return text.substr(end).rfind(kEscapedDash, 0) != 0;
}

std::vector<IdentifierMap::Hit> IdentifierMap::find(std::string_view text) const {
    std::vector<Hit> hits;
    if (patterns_.empty()) return hits;
    for (std::size_t start = 0; start + window_ <= text.size();) {
        const unsigned pair = pair_at(text, start + window_ - 2);
        if (jump_[pair] != 0) {
            start += jump_[pair];
            continue;
        }
        std::size_t next = start + 1;
        for (const std::uint16_t p : ending_[pair & 255]) {
            const Pattern& pattern = patterns_[p];
            if (text.compare(start, pattern.before.size(), pattern.before) != 0) continue;
            if (!stands_alone(text, start, pattern)) continue;
            hits.push_back({start, pattern.before.size(), text.substr(start, pattern.before.size()),
                            pattern.after, pattern.identifier, pattern.wide});
            next = start + pattern.before.size();
            break;
        }
        start = next;
    }
    return hits;
}

std::string IdentifierMap::rewrite(std::string_view text) const {
    std::string result(text);
    for (const Hit& hit : find(text))
        result.replace(hit.offset, hit.length, hit.replacement);
    return result;
}

bool is_text(std::string_view content) {
    return content.find('\0') == std::string_view::npos;
}

}  // namespace dupengine::profiles
