#include "bootloader_hooks/loader.h"

#include "base/error.h"
#include "bootloader_hooks/dupengine_efi.h"
#include "bootloader_hooks/grub.h"
#include "bootloader_hooks/systemd_boot.h"

namespace dupengine::boot {
namespace {

/// Nothing where this machine has no variables of firmware: then none of those that use them started it.
std::optional<std::string_view> started_by(const Places& places) {
    try {
        if (look_at_efi(machine::EfiVariables(places.efivars)).started_by) return kDupengineEfiName;
        if (systemd_boot_started(places)) return kSystemdBootName;
    } catch (const Error& e) {
        if (e.code() != Code::kUnsupported) throw;
    }
    return std::nullopt;
}

}  // namespace

std::unique_ptr<Loader> find_loader(const Places& places, const std::string& name) {
    std::string_view chosen = name;
    if (name.empty()) {
        const auto starter = started_by(places);
        chosen = starter.value_or(grub_has_entries(places) ? kGrubName : kDupengineEfiName);
    }
    if (chosen == kSystemdBootName) return make_systemd_boot(places);
    if (chosen == kGrubName) return make_grub(places);
    if (chosen == kDupengineEfiName) return make_dupengine_efi(places);
    throw_error(Code::kUsage, "'{}' is none of {}, {}, {}", name, kDupengineEfiName, kSystemdBootName,
                kGrubName);
}

}  // namespace dupengine::boot
