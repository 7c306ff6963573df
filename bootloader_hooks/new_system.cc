#include "bootloader_hooks/new_system.h"

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "bootloader_hooks/dupengine_efi.h"

namespace dupengine::boot {
namespace {

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
    if (!machine::runs_from_memory() || !std::filesystem::exists("/sys/firmware/efi")) return {};
    machine::mount_efi_variables();
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
