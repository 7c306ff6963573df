#pragma once
// GRUB as one file that firmware loads, made by grub-mkimage(1) of the modules that Debian has. They are in
// it, so that it looks for nothing but its menu. One thread at a time.

#include <stop_token>
#include <string>
#include <vector>

namespace dupengine::boot {

struct GrubPlatform {
    const char* format;   ///< of grub-mkimage
    const char* modules;  ///< the folder that Debian has them in
    const char* package;  ///< of Debian
};

inline constexpr GrubPlatform kGrubOfEfi{"x86_64-efi", "/usr/lib/grub/x86_64-efi", "grub-efi-amd64-bin"};
inline constexpr GrubPlatform kGrubOfBios{"i386-pc", "/usr/lib/grub/i386-pc", "grub-pc-bin"};
/// The same modules, as a BIOS loads it over the network.
inline constexpr GrubPlatform kGrubOfPxe{"i386-pc-pxe", "/usr/lib/grub/i386-pc", "grub-pc-bin"};

/// ... and from a CD.
inline constexpr GrubPlatform kGrubOfCd{"i386-pc-eltorito", "/usr/lib/grub/i386-pc", "grub-pc-bin"};

/// Throws kUnsupported if a program or a package of GRUB is not there, with what installs it. `use`: in the
/// message.
void check_grub(const std::vector<GrubPlatform>& platforms, const std::string& use);

/// `menu_folder`: where grub.cfg is, in GRUB's words. `drivers`: modules beside those that every menu of ours
/// needs. Throws kInternal if grub-mkimage fails, kInterrupted.
std::string make_grub_image(const GrubPlatform& platform, const std::string& menu_folder,
                            const std::vector<std::string>& drivers, const std::stop_token& stop);

}  // namespace dupengine::boot
