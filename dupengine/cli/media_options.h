#pragma once
// What the sub-verbs of `dupengine media` share: their options, the small system that each of them makes or
// takes, and how they tell of it.

#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>

#include "bootloader_hooks/media/boot_words.h"
#include "bootloader_hooks/media/initramfs.h"
#include "cli/command.h"

namespace dupengine::cli {

/// Everything that the sub-verbs may be given.
struct MediaOptions {
    boot::InitramfsOptions system;
    boot::BootWords words;
    std::string initramfs, linux_file;  // made before
    std::string interface, range, http;
    std::vector<std::string> nodes;
    std::string efi_application;
    std::string output;
};

/// The kernel and the small system that it starts, once it is clear that they fit.
struct Started {
    std::string linux_file;
    boot::Initramfs system;
};

/// Throws kUsage for a kernel that is not there, or what boot::make_initramfs() and check_can_start() throw.
Started find_started(const MediaOptions& options, const std::stop_token& stop);
/// Throws kUsage.
void check_efi_application(const MediaOptions& options);
/// What is renamed into its place would replace the node of a disk. Throws kRefused.
void check_is_file(const std::string& path);

void warn_of_secret(const std::string& line);
nlohmann::ordered_json system_json(const boot::Initramfs& system);
std::string system_text(const boot::Initramfs& system);
/// On standard output, as asked.
void print_made(const Globals& globals, const nlohmann::ordered_json& json, const std::string& text);

int run_initramfs(const Globals& globals, const MediaOptions& options);
int run_pxe(const Globals& globals, const MediaOptions& options);
int run_esp(const Globals& globals, const MediaOptions& options);
int run_iso(const Globals& globals, const MediaOptions& options);

}  // namespace dupengine::cli
