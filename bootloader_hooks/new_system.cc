#include "bootloader_hooks/new_system.h"

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "bootloader_hooks/dupengine_efi.h"

namespace dupengine::boot {
namespace {

Counted count(machine::EfiVariables& variables, const profiles::Boot& boot) {
    set_tries(variables, *boot.tries);
    return {true,
            fmt::format("dupengine.efi tries this system {} times, until it confirms that it came up well",
                        *boot.tries)};
}

// Of the machine whose disk is started next. An error says why they cannot be looked at.
std::optional<machine::EfiVariables> find_variables(const std::string& efivars) {
    if (!efivars.empty()) return machine::EfiVariables(efivars);
    if (!machine::runs_from_memory() || !std::filesystem::exists("/sys/firmware/efi")) return std::nullopt;
    machine::mount_efi_variables();
    return machine::EfiVariables();
}

}  // namespace

Counted count_tries_of(const profiles::Boot& boot, const std::string& efivars) {
    if (!boot.tries) return {};
    std::optional<machine::EfiVariables> variables;
    try {
        variables = find_variables(efivars);
    } catch (const Error& e) {
        if (!efivars.empty()) throw;
        return {false, fmt::format("the tries of this system are not counted: {}", e.what())};
    }
    if (!variables) return {};
    // Without a dupengine.efi there is nobody to count.
    const bool is_counted = !efivars.empty() || look_at_efi(*variables).started_by;
    return is_counted ? count(*variables, boot) : Counted{};
}

bool are_tries_used_up(const std::string& efivars) {
    const auto variables = find_variables(efivars);
    return variables && look_at_efi(*variables).tries == "0";
}

}  // namespace dupengine::boot
