#include "bootloader_hooks/new_system.h"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "bootloader_hooks/dupengine_efi.h"

namespace dupengine::boot {
namespace {

bool runs_from_memory() {
    struct statfs root {};
    return ::statfs("/", &root) == 0 && (root.f_type == TMPFS_MAGIC || root.f_type == RAMFS_MAGIC);
}

// An initramfs does not mount it. What stands against that shows when the variables are looked at.
void mount_efivarfs() {
    const std::filesystem::path folder = machine::kEfivarsFolder;
    std::error_code error;
    if (std::filesystem::is_empty(folder, error) && !error)
        static_cast<void>(
            ::mount("efivarfs", folder.c_str(), "efivarfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""));
}

std::string count(machine::EfiVariables& variables, const profiles::Boot& boot) {
    set_tries(variables, *boot.tries);
    return fmt::format("dupengine.efi tries this system {} times, until it confirms that it came up well",
                       *boot.tries);
}

}  // namespace

std::string count_tries_of(const profiles::Boot& boot, const std::string& efivars) {
    if (!boot.tries) return {};
    if (!efivars.empty()) {
        machine::EfiVariables variables(efivars);
        return count(variables, boot);
    }
    if (!runs_from_memory() || !std::filesystem::exists("/sys/firmware/efi")) return {};
    mount_efivarfs();
    std::optional<machine::EfiVariables> variables;
    try {
        variables.emplace();
    } catch (const Error& e) {
        return fmt::format("the tries of this system are not counted: {}", e.what());
    }
    // Without one there is nobody to count.
    return look_at_efi(*variables).started_by ? count(*variables, boot) : "";
}

}  // namespace dupengine::boot
