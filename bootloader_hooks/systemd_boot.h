#pragma once
// systemd-boot: entries in loader/entries of the EFI system partition, counters in the names of their files,
// and the variables of its Boot Loader Interface (systemd.io). See loader.h.

#include "bootloader_hooks/loader.h"

namespace dupengine::boot {

/// Whether it started this machine.
bool systemd_boot_started(const Places& places);

/// Throws kRefused if no EFI system partition with it is found.
std::unique_ptr<Loader> make_systemd_boot(const Places& places);

}  // namespace dupengine::boot
