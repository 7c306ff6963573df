#pragma once
// A disk that starts the small system on machines with UEFI or a BIOS, as the bytes of a raw image: for a
// stick, or the drive of a machine that has nothing else. Everything is on it; it asks nothing of a network.
// One thread at a time.
//
//     1  BIOS boot      GRUB, loaded by the boot code in sector 0 (i386-pc)
//     2  EFI system     FAT32: EFI/BOOT/BOOTX64.EFI (GRUB), grub/grub.cfg, linux, initramfs, and, if asked,
//                       EFI/dupengine/dupengine.efi, which the menu offers where firmware is UEFI

#include <stop_token>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"

namespace dupengine::boot {

struct BootDisk {
    std::string linux_file;
    std::string initramfs_file;
    std::string command_line;
    std::string efi_application;  ///< dupengine.efi; empty: none
};

/// Throws kUnsupported if a program or a package is not there, with what installs it.
void check_boot_disk_programs();

/// Makes `path`, a sparse file with 512-byte sectors, as large as it has to be. Throws as
/// check_boot_disk_programs, kUsage if a file cannot be read, kTargetIo, kInternal if a program fails,
/// kInterrupted.
void make_boot_disk(const BootDisk& disk, const std::string& path, RandomSource& random,
                    const std::stop_token& stop);

/// Sector 0 up to its partition table, with the place of GRUB in it, and GRUB with its own. `core_lba`: where
/// it begins. Throws kInternal for what is not such a GRUB. (GRUB: include/grub/i386/pc/boot.h, the offsets
/// 0x5c of the boot sector and 0x1f4 of the first sector of the core.)
struct BiosGrub {
    Bytes boot_code, core;
};
BiosGrub place_bios_grub(std::string_view boot_image, std::string_view core, std::uint64_t core_lba);

}  // namespace dupengine::boot
