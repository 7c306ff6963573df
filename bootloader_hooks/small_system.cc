#include "bootloader_hooks/small_system.h"

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "codec/digest.h"
#include "image/new_file.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = kGiB;
constexpr std::size_t kNameBytes = 8;

void check_line(const std::string& text) {
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; };
    if (std::ranges::any_of(text, is_control))
        throw_error(Code::kUsage, "a command line is one line of text, without control characters");
}

// What is stored beside an entry's file of GRUB, and what a cut left of any of them.
bool is_ours(const std::string& name) {
    return name.starts_with("linux-") || name.starts_with("initrd-") || name.starts_with("entries.cfg");
}

std::string joined(const std::string& first, const std::string& second) {
    return first.empty() ? second : first + " " + second;
}

std::string store(const std::string& file, const std::string& folder, const std::string& kind) {
    const std::string content = read_file(file, Code::kUsage, kLargestFile);
    if (content.empty()) throw_error(Code::kUsage, "{}: empty", file);
    const codec::Sha256 digest = codec::sha256(as_bytes(content));
    const std::string name = kind + "-" + to_hex(std::span(digest).first(kNameBytes));
    write_file_atomic(folder + "/" + name, as_bytes(content), 0600, Code::kTargetIo);
    return name;
}

}  // namespace

std::vector<SmallEntry> entries_of(const SmallSystem& system) {
    check_line(system.command_line);
    check_line(system.duplicate);
    std::vector<SmallEntry> entries = {{kRecovery, "dupengine: a shell to recover this machine",
                                        joined(system.command_line, "dupengine.shell")}};
    if (!system.duplicate.empty())
        entries.push_back({kDuplicate, "dupengine: this machine becomes a duplicate, its disk is overwritten",
                           joined(system.command_line, system.duplicate)});
    return entries;
}

StoredSystem store_system(const SmallSystem& system, const std::string& folder) {
    image::make_folder(folder);
    return {store(system.kernel, folder, "linux"), store(system.initrd, folder, "initrd")};
}

void delete_others(const std::string& folder, const std::vector<std::string>& keep) {
    std::error_code error;
    std::vector<fs::path> others;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename();
        if (is_ours(name) && std::ranges::find(keep, name) == keep.end()) others.push_back(entry.path());
    }
    for (const fs::path& path : others)
        if (!fs::remove(path, error) && error)
            throw_errno(Code::kTargetIo, error.value(), "{}: cannot be deleted", path.string());
}

}  // namespace dupengine::boot
