#include "image/reference.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

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

std::string Reference::text() const {
    std::string text = "image:" + place;
    if (name) text += "#" + *name;
    if (version) text += "@" + std::to_string(*version);
    return text;
}

std::optional<Reference> parse_reference(std::string_view text) {
    constexpr std::string_view kScheme = "image:";
    if (!text.starts_with(kScheme)) return std::nullopt;
    text.remove_prefix(kScheme.size());
    Reference reference;
    const auto hash = text.rfind('#');
    reference.place = text.substr(0, hash);
    if (reference.place.empty())
        throw_error(Code::kUsage, "'image:' needs the path of a store behind it: image:/srv/images#web");
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

}  // namespace dupengine::image
