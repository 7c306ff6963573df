#include "bootloader_hooks/new_system.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <optional>

#include "base/error.h"
#include "bootloader_hooks/dupengine_efi.h"

namespace dupengine::boot {
namespace {

bool runs_from_memory() {
    struct statfs root {};
    return ::statfs("/", &root) == 0 && (root.f_type == TMPFS_MAGIC || root.f_type == RAMFS_MAGIC);
}

// Nothing: no dupengine.efi started this machine, so there is nobody to count.
std::optional<machine::EfiVariables> own_variables() {
    if (!runs_from_memory()) return std::nullopt;
    try {
        machine::EfiVariables variables;
        if (look_at_efi(variables).started_by) return variables;
    } catch (const Error& e) {
        if (e.code() != Code::kUnsupported) throw;
    }
    return std::nullopt;
}

}  // namespace

std::string count_tries_of(const profiles::Boot& boot, const std::string& efivars) {
    if (!boot.tries) return {};
    auto variables = efivars.empty() ? own_variables() : machine::EfiVariables(efivars);
    if (!variables) return {};
    set_tries(*variables, *boot.tries);
    return fmt::format("dupengine.efi tries this system {} times, until it confirms that it came up well",
                       *boot.tries);
}

}  // namespace dupengine::boot
