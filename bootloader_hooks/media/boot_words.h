#pragma once
// What a machine is told to do when it starts the small system: words of the kernel command line
// (dupengine-initramfs(8)), and the menu of GRUB that has them. Pure.

#include <string>
#include <vector>

namespace dupengine::boot {

struct BootWords {
    std::string copied;                 ///< SOURCE of dupengine.copy=; empty: nothing is copied
    bool receives = false;              ///< another machine, onto the targets
    bool is_live = false;               ///< with its memory
    bool assumes = false;               ///< take up the role (a copied disk does by itself)
    std::vector<std::string> targets;   ///< disks of the machine that starts, as paths
    std::string afterwards;             ///< reboot, poweroff, shell; empty: what the small system thinks best
    std::vector<std::string> appended;  ///< other words for the kernel, as they are
};

/// One line for the kernel. Nothing to do is a rescue shell. Throws kUsage for words that contradict each
/// other, that the boot loader or the kernel would not take as they are, or that are too many.
std::string kernel_command_line(const BootWords& words);

/// A grub.cfg that starts `linux` with `initramfs`, both as GRUB finds them on what it was started from.
/// Where `node_folder` is given, the file there that is named like the address of the network card
/// ("52-54-00-12-34-56") is put behind the initramfs.
std::string grub_menu(const std::string& command_line, const std::string& linux, const std::string& initramfs,
                      const std::string& node_folder = "");

/// The same for iPXE, whose paths begin at the place of the script. Where UEFI has started it, it starts the
/// application instead, if there is one. Throws kUsage for words that iPXE would change.
std::string ipxe_script(const std::string& command_line, const std::string& linux,
                        const std::string& initramfs, const std::string& node_folder,
                        const std::string& application);

/// One more entry for it, of an application that only UEFI can start.
std::string grub_efi_entry(const std::string& application);

}  // namespace dupengine::boot
