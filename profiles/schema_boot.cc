// Reads [boot]: how a node starts, for dupengine.efi. Firmware reads the same keys
// (efi/core/node_profile.cc), so all texts are of characters that every firmware can show and every file
// system of its own can name.

#include <algorithm>
#include <array>
#include <charconv>

#include "base/guid.h"
#include "profiles/names.h"
#include "profiles/schema_walk.h"

namespace dupengine::profiles {
namespace {

constexpr std::uint64_t kLongestTimeout = 3600, kMostTries = 99;
constexpr std::size_t kLongestPath = 255;          // of a file on an EFI system partition
constexpr std::size_t kLongestCommandLine = 2047;  // Linux, x86

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::string efi_path_fault(std::string_view text) {
    if (std::string fault = file_path_fault(text); !fault.empty()) return fault;
    if (text.size() > kLongestPath) return fmt::format("is longer than {} bytes", kLongestPath);
    if (!is_printable(text) || text.find_first_of("\"*:<>?\\|") != std::string_view::npos)
        return "holds a character that FAT has none of; folders are parted by '/'";
    return {};
}

bool is_host(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
               c == '-';
    });
}

bool is_port(std::string_view text) {
    unsigned port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc() && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

// Firmware fetches over plain HTTP only (efi/core/web.h); who is believed is decided by signatures.
std::string address_fault(std::string_view text) {
    constexpr std::string_view kScheme = "http://";
    if (!text.starts_with(kScheme)) return "is no address that firmware can fetch; http:// is";
    if (text.size() > kLongestPath) return fmt::format("is longer than {} bytes", kLongestPath);
    const std::string_view rest = text.substr(kScheme.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos || slash + 1 == rest.size()) return "names no file";
    const std::string_view authority = rest.substr(0, slash);
    const std::size_t colon = authority.find(':');
    if (!is_host(authority.substr(0, colon))) return "names no host";
    if (colon != std::string_view::npos && !is_port(authority.substr(colon + 1)))
        return "has a port that is none";
    if (!is_printable(text) || text.find_first_of(" #") != std::string_view::npos)
        return "holds a character that such an address has none of";
    return {};
}

std::string file_or_address_fault(std::string_view text) {
    return text.find("://") == std::string_view::npos ? efi_path_fault(text) : address_fault(text);
}

std::string command_line_fault(std::string_view text) {
    if (text.size() > kLongestCommandLine) return fmt::format("is longer than {} bytes", kLongestCommandLine);
    return is_printable(text) ? "" : "holds a character that is not printable ASCII";
}

std::string receive_disk_fault(std::string_view text) {
    if (std::string fault = file_path_fault(text); !fault.empty()) return fault;
    if (text.size() > kLongestPath) return fmt::format("is longer than {} bytes", kLongestPath);
    return is_printable(text) && text.find(' ') == std::string_view::npos ? "" : "holds a blank or worse";
}

// A word of a kernel's command line, as dupengine-initramfs(8) takes it.
std::string restore_from_fault(std::string_view text) {
    if (text.size() > kLongestPath) return fmt::format("is longer than {} bytes", kLongestPath);
    if (!text.starts_with("https://") && !text.starts_with("dup://")) return "is neither https:// nor dup://";
    return is_printable(text) && text.find_first_of(" \"") == std::string_view::npos
               ? ""
               : "holds a blank or worse";
}

// A folder on a web server, to which the name of the node's report is added.
std::string report_to_fault(std::string_view text) {
    if (text.size() > kLongestPath) return fmt::format("is longer than {} bytes", kLongestPath);
    constexpr std::string_view kScheme = "https://";
    if (!text.starts_with(kScheme) || text.size() == kScheme.size())
        return "is no https:// address of a folder";
    return is_printable(text) && text.find_first_of(" \"#") == std::string_view::npos
               ? ""
               : "holds a character that such an address has none of";
}

std::string partition_fault(std::string_view text) {
    try {
        Guid::parse(text);
        return {};
    } catch (const Error&) {
        return "is no GUID, as in c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    }
}

std::string choice_fault(std::string_view text) {
    constexpr std::array<std::string_view, 5> kChoices = {"disk", "kernel", "receive", "restore", "menu"};
    if (std::find(kChoices.begin(), kChoices.end(), text) != kChoices.end()) return {};
    return "is not known; disk, kernel, receive, restore and menu are";
}

template <std::string Boot::*kMember, std::string (*kFault)(std::string_view)>
void read_text(SchemaWalk& walk, const TomlEntry& entry) {
    const auto text = walk.text(entry, kShortText);
    if (!text) return;
    const std::string fault = text->empty() ? "is empty" : kFault(*text);
    if (!fault.empty())
        walk.complain(entry.value.at, fmt::format("{} {} {}", entry.key, quoted(*text), fault));
    walk.profile().boot.*kMember = *text;
}

void read_timeout(SchemaWalk& walk, const TomlEntry& entry) {
    const auto seconds = walk.number(entry);
    if (!seconds) return;
    if (*seconds > kLongestTimeout)
        return walk.complain(entry.value.at, fmt::format("timeout must be from 0 to {}", kLongestTimeout));
    walk.profile().boot.timeout_seconds = static_cast<unsigned>(*seconds);
}

void read_tries(SchemaWalk& walk, const TomlEntry& entry) {
    const auto tries = walk.number(entry);
    if (!tries) return;
    if (*tries < 1 || *tries > kMostTries)
        return walk.complain(entry.value.at, fmt::format("tries must be from 1 to {}", kMostTries));
    walk.profile().boot.tries = static_cast<unsigned>(*tries);
}

constexpr std::array<SchemaWalk::Key, 13> kKeys = {
    {{"choice", read_text<&Boot::choice, choice_fault>},
     {"timeout", read_timeout},
     {"partition", read_text<&Boot::partition, partition_fault>},
     {"loader", read_text<&Boot::loader, efi_path_fault>},
     {"kernel", read_text<&Boot::kernel, file_or_address_fault>},
     {"initrd", read_text<&Boot::initrd, file_or_address_fault>},
     {"command_line", read_text<&Boot::command_line, command_line_fault>},
     {"receive_disk", read_text<&Boot::receive_disk, receive_disk_fault>},
     {"restore_from", read_text<&Boot::restore_from, restore_from_fault>},
     {"fallback", read_text<&Boot::fallback, choice_fault>},
     {"duplicate_from", read_text<&Boot::duplicate_from, address_fault>},
     {"report_to", read_text<&Boot::report_to, report_to_fault>},
     {"tries", read_tries}}};

// What does not fit together, or nothing.
std::string fault_of(const Boot& boot) {
    const auto does = [&](std::string_view choice) {
        return boot.choice == choice || boot.fallback == choice;
    };
    const bool needs_kernel = does("kernel") || does("receive") || does("restore") || !boot.initrd.empty() ||
                              !boot.command_line.empty() || !boot.receive_disk.empty() ||
                              !boot.restore_from.empty();
    if (needs_kernel && boot.kernel.empty()) return "[boot] has no 'kernel', which the rest of it needs";
    if (does("restore") && boot.restore_from.empty())
        return "[boot] has no 'restore_from', so it does not say which image is restored";
    if ((does("receive") || does("restore")) && boot.receive_disk.empty())
        return "[boot] has no 'receive_disk', so it does not say which disk is to be written";
    if (!boot.fallback.empty() && boot.fallback == (boot.choice.empty() ? "disk" : boot.choice))
        return "[boot] falls back to what has failed";
    return {};
}

}  // namespace

void read_boot(SchemaWalk& walk, const TomlEntry& entry) {
    if (!walk.is(entry, TomlNode::Kind::kTable, "a table, written as [boot]")) return;
    walk.section(entry.value, kKeys, "[boot]");
    const std::string fault = fault_of(walk.profile().boot);
    if (!fault.empty()) walk.complain(entry.at, fault);
}

}  // namespace dupengine::profiles
