#include "image/reference.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "image/web_address.h"

namespace dupengine::image {
namespace {

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::uint64_t parse_version(std::string_view text) {
    std::uint64_t version = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
    if (error != std::errc() || end != text.data() + text.size() || version == 0)
        throw_error(Code::kUsage, "'{}' is no version of an image: a number from 1 on", text);
    return version;
}

}  // namespace

bool is_image_name(std::string_view name) {
    return !name.empty() && name.size() <= 64 && is_letter_or_digit(name.front()) &&
           std::all_of(name.begin(), name.end(),
                       [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

bool Reference::is_web() const {
    return is_web_address(place);
}

std::string Reference::shown() const {
    return is_web() ? WebAddress(place).shown() : place;
}

std::string Reference::text() const {
    return (is_web() ? shown() : "image:" + place) + named();
}

std::string Reference::endpoint() const {
    return (is_web() ? place : "image:" + place) + named();
}

std::string Reference::named() const {
    std::string text = name ? "#" + *name : "";
    if (version) text += "@" + std::to_string(*version);
    return text;
}

std::optional<Reference> parse_reference(std::string_view text) {
    constexpr std::string_view kScheme = "image:";
    const bool is_web = is_web_address(text);
    if (!is_web && !text.starts_with(kScheme)) return std::nullopt;
    if (!is_web) text.remove_prefix(kScheme.size());
    Reference reference;
    const auto hash = text.rfind('#');
    reference.place = text.substr(0, hash);
    if (reference.place.empty())
        throw_error(Code::kUsage, "'image:' needs the path of a store behind it: image:/srv/images#web");
    if (is_web) WebAddress{reference.place};  // is one, or it is refused
    if (hash == std::string_view::npos) return reference;
    std::string_view name = text.substr(hash + 1);
    if (const auto at = name.find('@'); at != std::string_view::npos) {
        reference.version = parse_version(name.substr(at + 1));
        name = name.substr(0, at);
    }
    if (!is_image_name(name))
        throw_error(Code::kUsage,
                    "'{}' cannot be the name of an image: letters, digits, '-', '_' and '.', at most 64",
                    name);
    reference.name = name;
    return reference;
}

std::optional<Reference> parse_writable_reference(std::string_view text) {
    auto reference = parse_reference(text);
    if (reference && reference->is_web())
        throw_error(Code::kUsage, "{}: a web server is only read from; write to the store's folder there",
                    reference->text());
    return reference;
}

}  // namespace dupengine::image
