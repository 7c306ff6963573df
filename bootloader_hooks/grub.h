#pragma once
// GRUB 2, as Debian and its relatives set it up: grub.cfg made of the scripts in /etc/grub.d, and an
// environment block beside it. See loader.h.

#include "bootloader_hooks/loader.h"

namespace dupengine::boot {

/// Whether it has entries of ours, and whether it is there at all.
bool grub_has_entries(const Places& places);
bool has_grub(const Places& places);

/// Throws kRefused if it is not there.
std::unique_ptr<Loader> make_grub(const Places& places);

}  // namespace dupengine::boot
