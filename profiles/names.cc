#include "profiles/names.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace dupengine::profiles {
namespace {

// Not isalnum: its answer depends on the locale.
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool only(std::string_view text, std::string_view further) {
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return is_letter(c) || is_digit(c) || further.find(c) != std::string_view::npos;
    });
}

std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> parts;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(at, begin), text.size());
        parts.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

constexpr std::array<std::string_view, 10> kUnitSuffixes = {".service",   ".socket", ".target", ".timer",
                                                            ".path",      ".mount",  ".swap",   ".slice",
                                                            ".automount", ".device"};

std::string_view unit_suffix(std::string_view name) {
    for (std::string_view suffix : kUnitSuffixes)
        if (name.ends_with(suffix)) return suffix;
    return {};
}

}  // namespace

std::string host_name_fault(std::string_view text) {
    if (text.empty() || text.size() > 64) return "must have 1 to 64 characters";
    for (std::string_view label : split(text, '.')) {
        if (label.empty() || label.size() > 63)
            return "must have parts of 1 to 63 characters between its dots";
        if (!only(label, "-")) return "may hold letters, digits, '-' and '.' only (RFC 1123)";
        if (label.front() == '-' || label.back() == '-')
            return "may not have a part that begins or ends with '-'";
    }
    return {};
}

std::string address_fault(std::string_view text) {
    const std::string address(text);
    std::array<unsigned char, 16> bytes;
    const bool good = address.find('\0') == std::string::npos &&
                      (::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1 ||
                       ::inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1);
    return good ? "" : "is neither an IPv4 nor an IPv6 address";
}

std::string role_name_fault(std::string_view text) {
    if (text.empty() || text.size() > 64) return "must have 1 to 64 characters";
    if (!only(text, "._-")) return "may hold letters, digits, '.', '_' and '-' only";
    if (text.front() == '.' || text.front() == '-') return "may not begin with '.' or '-'";
    if (text.find("..") != std::string_view::npos) return "may not hold '..'";
    return {};
}

std::string link_name_fault(std::string_view text) {
    if (text.empty() || text.size() > 15) return "must have 1 to 15 characters";
    if (!only(text, "._-")) return "may hold letters, digits, '.', '_' and '-' only";
    return text == "." || text == ".." || text == "lo" || text.front() == '-' ? "is no interface of a network"
                                                                              : "";
}

std::string mac_fault(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    bool good = text.size() == 17;
    for (std::size_t i = 0; good && i < text.size(); ++i)
        good = i % 3 == 2 ? text[i] == ':' : kDigits.find(text[i]) != std::string_view::npos;
    if (!good) return "must be six pairs of hexadecimal digits in lower case, as 52:54:00:12:34:56";
    if (kDigits.find(text[1]) % 2 != 0) return "is the address of a group";
    return text == "00:00:00:00:00:00" ? "may not be all zeros" : "";
}

std::string prefixed_address_fault(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return "needs the length of its network, as in 10.0.0.5/24";
    const std::string_view address = text.substr(0, slash), length = text.substr(slash + 1);
    if (const std::string fault = address_fault(address); !fault.empty()) return fault;
    unsigned bits = 0;
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
    const unsigned most = address.find(':') == std::string_view::npos ? 32 : 128;
    const bool good =
        error == std::errc() && end == length.data() + length.size() && bits > 0 && bits <= most;
    return good ? "" : fmt::format("must have a length of its network from 1 to {}", most);
}

std::string user_name_fault(std::string_view text) {
    if (text.empty() || text.size() > 32) return "must have 1 to 32 characters";
    if (!only(text, "._-")) return "may hold letters, digits, '.', '_' and '-' only";
    if (text.front() == '.' || text.front() == '-' || is_digit(text.front()))
        return "may not begin with a digit, '.' or '-'";
    return {};
}

std::string unit_name_fault(std::string_view text) {
    if (text.empty() || text.size() > 255) return "must have 1 to 255 characters";
    if (!only(text, ":-_.\\@")) return "may hold letters, digits and ':-_.\\@' only (systemd.unit(5))";
    const std::string_view suffix = unit_suffix(text);
    if (suffix.empty()) return "has no suffix that systemd knows";
    if (text.size() == suffix.size() || text.front() == '@') return "has nothing before its suffix";
    return {};
}

std::string canonical_unit_name(std::string_view text) {
    return std::string(text) + (unit_suffix(text).empty() ? ".service" : "");
}

std::string file_path_fault(std::string_view text) {
    if (text.empty() || text.front() != '/') return "must be absolute";
    if (text.size() > 4095) return "is longer than 4095 bytes";
    if (std::any_of(text.begin(), text.end(), is_control)) return "holds a control character";
    for (std::string_view part : split(text.substr(1), '/')) {
        if (part.empty()) return "has an empty part (\"//\", or a '/' at the end)";
        if (part == "." || part == "..") return "may not hold '.' or '..'";
        if (part.size() > 255) return "has a part of more than 255 bytes";
    }
    return {};
}

std::string authorized_key_fault(std::string_view text) {
    if (text.size() > 16384) return "is longer than 16 KiB";
    if (std::any_of(text.begin(), text.end(), [](char c) { return is_control(c) && c != '\t'; }))
        return "must be one line without control characters";
    if (text.find("PRIVATE KEY") != std::string_view::npos)
        return "is a private key; the public one is needed";
    const auto words = split(text, ' ');
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
        const std::string_view type = words[i];
        const bool known =
            type.starts_with("ssh-") || type.starts_with("ecdsa-sha2-") || type.starts_with("sk-");
        if (known && words[i + 1].starts_with("AAAA") && only(words[i + 1], "+/=")) return {};
    }
    return "holds no \"TYPE AAAA...\" of a public key (authorized_keys(5))";
}

std::string quoted(std::string_view text) {
    constexpr std::size_t kLimit = 64;
    std::string shown;
    for (std::size_t i = 0; i < std::min(text.size(), kLimit); ++i) {
        // 0xC2 begins the two bytes of U+0080..U+009F, which terminals take for control characters as well.
        const bool c1 = static_cast<unsigned char>(text[i]) == 0xC2 && i + 1 < text.size() &&
                        static_cast<unsigned char>(text[i + 1]) < 0xA0;
        if (c1) ++i;
        shown += c1 || is_control(text[i]) ? '?' : text[i];
    }
    // A cut may have split a character of several bytes: its rest goes too.
    if (text.size() > kLimit)
        while (!shown.empty() && static_cast<unsigned char>(shown.back()) >= 0x80)
            shown.pop_back();
    return fmt::format("'{}{}'", shown, text.size() > kLimit ? "..." : "");
}

std::string nearest_name(std::string_view text, const std::vector<std::string_view>& known) {
    if (text.size() > 64) return {};
    std::string_view best;
    std::size_t best_distance = 3;  // two slips at most
    for (std::string_view name : known) {
        std::vector<std::size_t> row(name.size() + 1);
        for (std::size_t j = 0; j < row.size(); ++j)
            row[j] = j;
        for (std::size_t i = 1; i <= text.size(); ++i) {
            std::size_t diagonal = row[0];
            row[0] = i;
            for (std::size_t j = 1; j < row.size(); ++j) {
                const std::size_t replaced = diagonal + (text[i - 1] == name[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
            }
        }
        if (row.back() < best_distance && row.back() * 2 < name.size()) {
            best = name;
            best_distance = row.back();
        }
    }
    return std::string(best);
}

}  // namespace dupengine::profiles
