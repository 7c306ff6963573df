#include "bootloader_hooks/grub_script.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace dupengine::boot {
namespace {

// Quotes and backslashes: GRUB quotes words anew for the kernel, and would put backslashes in front of them.
std::string quoted(const std::string& command_line) {
    if (command_line.find_first_of("'\"\\") != std::string::npos)
        throw_error(Code::kUsage, "GRUB hands on no command line with quotes or backslashes: {}",
                    command_line);
    std::string text;
    std::size_t begin = 0;
    while (begin < command_line.size()) {
        const std::size_t end = std::min(command_line.find(' ', begin), command_line.size());
        if (end > begin) text += " '" + command_line.substr(begin, end - begin) + "'";
        begin = end + 1;
    }
    return text;
}

std::string menu_entry(const SmallEntry& entry, const StoredSystem& files) {
    return fmt::format(
        "menuentry '{0}' --id {1}{2} {{\n"
        "  linux $prefix/{3}/{4}{5}\n"
        "  initrd $prefix/{3}/{6}\n"
        "}}\n",
        entry.title, kGrubIdPrefix, entry.word, kGrubFiles, files.kernel, quoted(entry.command_line),
        files.initrd);
}

// One try is taken away and written before the system starts; who cannot count starts what is left when none
// is. GRUB has no arithmetic. An entry that was chosen for one start is not counted (boot_once, 00_header).
std::string count() {
    std::string text = fmt::format(
        "if [ \"$boot_once\" != true ]; then\n"
        "  if [ -n \"${0}\" ]; then set default=\"${0}\"; fi\n"
        "  if [ -n \"${1}\" ]; then\n"
        "    set dupengine_left=\n",
        kGrubDefault, kGrubTries);
    for (unsigned tries = 1; tries <= kMostGrubTries; ++tries)
        text += fmt::format("    if [ \"${}\" = {} ]; then set dupengine_left={}; fi\n", kGrubTries, tries,
                            tries - 1);
    return text + fmt::format(
                      "    if [ -n \"$dupengine_left\" ]; then\n"
                      "      set {0}=\"$dupengine_left\"\n"
                      "      if save_env {0}; then true; else set default={1}{2}; fi\n"
                      "    else\n"
                      "      set default={1}{2}\n"
                      "    fi\n"
                      "  fi\n"
                      "fi\n",
                      kGrubTries, kGrubIdPrefix, kRecovery);
}

constexpr std::string_view kReadsEntries =
    "if [ -f $prefix/dupengine/entries.cfg ]; then\n"
    "  source $prefix/dupengine/entries.cfg\n"
    "fi\n";

// As grub-mkconfig(8) frames what a script of /etc/grub.d prints.
std::string part() {
    return fmt::format("\n### BEGIN /etc/grub.d/{0} ###\n{1}### END /etc/grub.d/{0} ###\n", kGeneratorName,
                       kReadsEntries);
}

}  // namespace

std::string grub_entries(const std::vector<SmallEntry>& entries, const StoredSystem& files) {
    // Read once, also where two parts of grub.cfg ask for it.
    std::string text =
        "# Made by dupengine boot install; dupengine boot remove takes it away.\n"
        "if [ \"$dupengine_is_read\" != yes ]; then\n"
        "set dupengine_is_read=yes\n";
    for (const SmallEntry& entry : entries)
        text += menu_entry(entry, files);
    return text + count() + "fi\n";
}

std::string grub_generator() {
    return fmt::format(
        "#!/bin/sh\n"
        "# Made by dupengine boot install; dupengine boot remove takes it away. The entries are read when "
        "the "
        "machine starts.\n"
        "cat <<'EOF'\n{}EOF\n",
        kReadsEntries);
}

std::string with_entries_read(std::string_view configuration) {
    // grub-mkconfig may have put others behind it.
    if (configuration.find(part()) != std::string_view::npos) return std::string(configuration);
    std::string text = without_entries_read(configuration);
    if (!text.ends_with('\n')) text += '\n';
    return text + part();
}

std::string without_entries_read(std::string_view configuration) {
    const std::string begin = fmt::format("\n### BEGIN /etc/grub.d/{} ###\n", kGeneratorName);
    const std::string end = fmt::format("### END /etc/grub.d/{} ###\n", kGeneratorName);
    std::string text(configuration);
    for (std::size_t from = text.find(begin); from != std::string::npos; from = text.find(begin)) {
        const std::size_t to = text.find(end, from);
        if (to == std::string::npos)
            throw_error(Code::kIntegrity, "its part of {} has no end; run update-grub", kGeneratorName);
        text.erase(from, to + end.size() - from);
    }
    return text;
}

}  // namespace dupengine::boot
