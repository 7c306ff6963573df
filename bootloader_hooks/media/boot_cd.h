#pragma once
// The same as boot_disk.h as a CD (ISO 9660 with El Torito), for drives that a management controller or a
// hypervisor lends to a machine. Made by xorriso. One thread at a time.
//
//     boot.cat, bios.img    what a BIOS loads: GRUB
//     efi.img               what UEFI loads from: FAT with EFI/BOOT/BOOTX64.EFI (GRUB), which looks for this
//     CD linux, initramfs, grub/grub.cfg, and, if asked, EFI/dupengine/dupengine.efi

#include "bootloader_hooks/media/boot_disk.h"

namespace dupengine::boot {

/// Throws kUnsupported if a program or a package is not there, with what installs it.
void check_boot_cd_programs();

/// Makes the file `path`. Throws as make_boot_disk().
void make_boot_cd(const BootDisk& disk, const std::string& path, RandomSource& random,
                  const std::stop_token& stop);

}  // namespace dupengine::boot
