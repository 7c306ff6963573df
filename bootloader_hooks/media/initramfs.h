#pragma once
// The small system: an initramfs with this command, drivers for disks and networks and the boot script of
// dupengine-initramfs(8), which any machine can start. mkinitramfs(8) makes it with settings of our own, so
// those of this machine do not matter; what was asked for besides is an archive behind it. One thread at a
// time.

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "bootloader_hooks/media/boot_words.h"

namespace dupengine::boot {

struct InitramfsOptions {
    std::string kernel;                ///< the version whose modules it has, as in /lib/modules
    std::vector<std::string> trusted;  ///< files with public keys: who may have signed an image
    std::string ca_file;               ///< of the web server's authority; empty: those of this machine
    std::string enrolment;             ///< a folder with the enrolment to put in, a secret; empty: none
    std::string profile;             ///< the file of a node, for a disk that has no profile yet; empty: none
    bool only_this_machine = false;  ///< the drivers that the devices of this machine need, and no others
};

struct Initramfs {
    std::string content;               ///< the whole initramfs
    std::vector<std::string> added;    ///< paths of what was asked for besides
    std::size_t modules = 0;           ///< of the kernel
    std::vector<std::string> kernels;  ///< versions whose modules it has
    bool trusts_somebody = false;      ///< it holds a key that images may be signed with
    bool is_secret = false;            ///< it holds an enrolment, a secret key
};

/// The version of the kernel that runs.
std::string running_kernel();

/// Throws kUnsupported if mkinitramfs or the hook of this project is not installed or no drivers are found,
/// kUsage for what cannot be
/// put in or is no profile, kAuthenticity for a folder that is no enrolment, kInternal if mkinitramfs fails,
/// kInterrupted.
Initramfs make_initramfs(const InitramfsOptions& options, const std::stop_token& stop = {});

/// What makes the profile in this file that of a machine whose disk has none, as an archive behind an
/// initramfs. Throws kUsage if it is no profile of a node.
std::string profile_archive(const std::string& file);

/// Looks into an initramfs, of whoever made it: `added` stays empty. Throws kUnsupported if it has no command
/// or no boot script in it, so that it cannot do what its command line says; kUsage if it is no initramfs.
Initramfs check_initramfs(std::string content);

/// Where a small system is started by a kernel that is not its own, or lacks the key without which it does
/// not do what it is told, its machine stands with a shell. Throws kRefused for these, kUsage for what is no
/// kernel. `linux_name`: for messages.
void check_can_start(const Initramfs& system, std::string_view linux_content, const std::string& linux_name,
                     const BootWords& words);

}  // namespace dupengine::boot
