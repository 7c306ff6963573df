#include "bootloader_hooks/media/boot_words.h"

#include <algorithm>

#include "base/error.h"

namespace dupengine::boot {
namespace {

// COMMAND_LINE_SIZE of x86 (arch/x86/include/asm/setup.h), less the zero and what GRUB puts in front.
constexpr std::size_t kLongestLine = 2048 - 64;

// Quotes are GRUB's and the kernel's, a blank ends a word.
bool is_plain(const std::string& word) {
    return !word.empty() && std::ranges::all_of(word, [](char c) {
        return c > ' ' && c < 0x7f && c != '\'' && c != '"' && c != '\\';
    });
}

void check_disks(const BootWords& words) {
    const bool takes_a_disk = words.receives || !words.copied.empty() || words.assumes;
    if (takes_a_disk && words.targets.empty())
        throw_error(Code::kUsage, "which disk of the machine that starts is it about? (--target DISK)");
    if (!takes_a_disk && !words.targets.empty())
        throw_error(Code::kUsage, "what is to be done with {}? (--copy, --receive or --assume)",
                    words.targets.front());
    if (words.targets.size() > 1 && !words.receives)
        throw_error(Code::kUsage, "only what is received can have several disks");
    for (const std::string& disk : words.targets)
        if (!disk.starts_with("/dev/"))
            throw_error(Code::kUsage, "'{}' is no disk of the machine that starts, like /dev/sda", disk);
}

void check_together(const BootWords& words) {
    if (words.receives && !words.copied.empty())
        throw_error(Code::kUsage, "one machine cannot copy and receive at once (--copy, --receive)");
    if (words.is_live && !words.receives)
        throw_error(Code::kUsage, "memory comes only with what is received (--live without --receive)");
    for (const std::string& word : words.appended)
        if (word.starts_with("dupengine.receive=") || word.starts_with("dupengine.copy=") ||
            word.starts_with("dupengine.target="))
            throw_error(Code::kUsage, "'{}' has an option of its own (--receive, --copy, --target)", word);
}

}  // namespace

std::string kernel_command_line(const BootWords& words) {
    check_together(words);
    check_disks(words);
    std::vector<std::string> all;
    if (!words.copied.empty()) all.push_back("dupengine.copy=" + words.copied);
    for (const std::string& disk : words.targets)
        all.push_back((words.receives ? "dupengine.receive=" : "dupengine.target=") + disk);
    if (words.is_live) all.emplace_back("dupengine.live");
    if (words.assumes && words.copied.empty()) all.emplace_back("dupengine.assume");
    if (all.empty()) all.emplace_back("dupengine.shell");
    if (!words.afterwards.empty()) all.push_back("dupengine.then=" + words.afterwards);
    all.insert(all.end(), words.appended.begin(), words.appended.end());

    std::string line;
    for (const std::string& word : all) {
        if (!is_plain(word))
            throw_error(Code::kUsage,
                        "'{}' cannot stand on a kernel command line: no blanks, quotes or backslashes", word);
        line += (line.empty() ? "" : " ") + word;
    }
    if (line.size() > kLongestLine)
        throw_error(Code::kUsage, "the kernel command line has {} bytes, {} more than the kernel takes",
                    line.size(), line.size() - kLongestLine);
    return line;
}

std::string grub_menu(const std::string& command_line, const std::string& linux, const std::string& initramfs,
                      const std::string& node_folder) {
    // Each word in quotes, which keep GRUB from taking "#", "$" or ";" for its own.
    std::string quoted = "'" + command_line + "'";
    for (std::size_t at = 0; (at = quoted.find(' ', at)) != std::string::npos; at += 3)
        quoted.replace(at, 1, "' '");
    std::string find_node, node;
    if (!node_folder.empty()) {
        // Nothing at all where there is no such file. GRUB looks for it in a list of files unless it asks for
        // the size, and a server gives no list.
        find_node = fmt::format(
            "set node=\n"
            "tr --set=card ':' '-' \"$net_default_mac\"\n"
            "if [ -s \"{0}/$card\" ]; then set node=\"{0}/$card\"; fi\n",
            node_folder);
        node = " $node";
    }
    return fmt::format(
        "# Made by dupengine media. What the words mean is in dupengine-initramfs(8).\n"
        "set default=0\n"
        "set timeout=3\n"
        "{3}"
        "menuentry 'dupengine' {{\n"
        "    echo 'dupengine: loading {0}'\n"
        "    linux {0} {2}\n"
        "    echo 'dupengine: loading {1}'\n"
        "    initrd {1}{4}\n"
        "}}\n"
        "menuentry 'dupengine: a shell' {{\n"
        "    linux {0} dupengine.shell\n"
        "    initrd {1}{4}\n"
        "}}\n",
        linux, initramfs, quoted, find_node, node);
}

std::string ipxe_script(const std::string& command_line, const std::string& linux,
                        const std::string& initramfs, const std::string& node_folder,
                        const std::string& application) {
    if (command_line.find("${") != std::string::npos)
        throw_error(Code::kUsage, "iPXE would put something else in place of the '${{' in \"{}\"",
                    command_line);
    const std::string chain = application.empty() ? ""
                                                  : fmt::format(
                                                        "iseq ${{platform}} efi || goto system\n"
                                                        "chain {} || goto failed\n"
                                                        ":system\n",
                                                        application);
    // A kernel that UEFI starts is told which of the files are its initramfs; one that a BIOS starts gets
    // all.
    return fmt::format(
        "#!ipxe\n"
        "# Made by dupengine media. What the words mean is in dupengine-initramfs(8).\n"
        "{4}"
        "initrd --name {1} {1} || goto failed\n"
        "initrd --name node {3}/${{netX/mac:hexhyp}} && set node initrd=node ||\n"
        "kernel {0} initrd={1} ${{node}} {2} || goto failed\n"
        "boot || goto failed\n"
        ":failed\n"
        "echo dupengine: the small system cannot be loaded; again in 10 seconds\n"
        "sleep 10\n"
        "reboot\n",
        linux, initramfs, command_line, node_folder, chain);
}

std::string grub_efi_entry(const std::string& application) {
    return fmt::format(
        "if [ \"$grub_platform\" = efi ]; then\n"
        "menuentry 'dupengine.efi: without an operating system' {{\n"
        "    chainloader {}\n"
        "}}\n"
        "fi\n",
        application);
}

}  // namespace dupengine::boot
