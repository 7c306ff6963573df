#include "bootloader_hooks/boot_entry.h"

#include <fmt/format.h>

#include <charconv>

namespace dupengine::boot {
namespace {

std::optional<unsigned> number(std::string_view digits) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return value;
}

}  // namespace

std::string EntryName::text() const {
    return left ? fmt::format("{}+{}{}", name, *left, suffix) : uncounted();
}

EntryName parse_entry_name(std::string_view file) {
    const std::size_t dot = file.rfind('.');
    EntryName parsed;
    parsed.name = file.substr(0, dot);
    if (dot != std::string_view::npos) parsed.suffix = file.substr(dot);
    const std::size_t plus = parsed.name.rfind('+');
    if (plus == std::string::npos || plus == 0) return parsed;
    const std::string_view counter = std::string_view(parsed.name).substr(plus + 1);
    const std::size_t dash = counter.find('-');
    const auto left = number(counter.substr(0, dash));
    if (!left || (dash != std::string_view::npos && !number(counter.substr(dash + 1)))) return parsed;
    parsed.left = left;
    parsed.name.resize(plus);
    return parsed;
}

std::string entry_text(const SmallEntry& entry, const StoredSystem& files, std::string_view folder) {
    return fmt::format(
        "# Made by dupengine boot install; dupengine boot remove takes it away.\n"
        "title {}\nlinux {}/{}\ninitrd {}/{}\noptions {}\n",
        entry.title, folder, files.kernel, folder, files.initrd, entry.command_line);
}

}  // namespace dupengine::boot
