#pragma once
// A folder that a TFTP server gives to machines that start over the network: GRUB for UEFI and for BIOS, its
// menu, the kernel and the small system; and, if asked, the settings of a dnsmasq that serves it. One thread
// at a time.
//
//     linux, initramfs      what GRUB starts
//     grub/grub.cfg         its menu
//     grub/efi64.efi        what UEFI firmware loads
//     grub/bios.0           what BIOS firmware loads
//     dupengine.efi         if it is given: what UEFI firmware loads instead, and starts what the machine's
//                           profile says
//     boot.ipxe             what iPXE does
//     nodes/MAC             the profile of the machine with this network card, behind the initramfs
//     dnsmasq.conf          DHCP and TFTP

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace dupengine::boot {

inline constexpr const char* kNetworkEfi = "grub/efi64.efi";
inline constexpr const char* kNetworkDupengine = "dupengine.efi";
inline constexpr const char* kNetworkBios = "grub/bios.0";
inline constexpr const char* kNetworkIpxe = "boot.ipxe";

/// Where dnsmasq is to answer, and what it may give.
struct DhcpRange {
    std::string interface;
    std::string first, last;  ///< IPv4
};

/// "10.0.0.100,10.0.0.200". Throws kUsage.
DhcpRange parse_dhcp_range(const std::string& interface, const std::string& range);

/// "52:54:00:12:34:56=web-1.toml", also with '-' in the address. Returns the name of the file below nodes/,
/// which is the address with '-', and the file with the profile. Throws kUsage.
std::pair<std::string, std::string> parse_node(const std::string& text);

struct NetworkFolder {
    std::string path;
    std::string linux_file;      ///< copied from there
    std::string_view initramfs;  ///< its content
    std::string command_line;
    std::optional<DhcpRange> dhcp;
    std::map<std::string, std::string> nodes = {};  ///< archives with profiles, by address of the card
    std::string efi_application = {};               ///< dupengine.efi, copied from there; empty: none
    std::string http = {};  ///< where a web server gives the folder out, for HTTP Boot; empty: nowhere
    const char* loaded_by_efi() const { return efi_application.empty() ? kNetworkEfi : kNetworkDupengine; }
};

/// Throws kUnsupported if a program or a package of GRUB is not there, with what installs it.
void check_network_programs();

/// Makes it, or replaces what of it is there; other files stay, and nodes that are not named. Each file is
/// whole or not there. Throws as check_network_programs, kUsage if the kernel cannot be read, kTargetIo,
/// kInterrupted.
void make_network_folder(const NetworkFolder& folder, const std::stop_token& stop = {});

/// "http://10.0.0.1/pxe", also https; without a '/' at its end. Throws kUsage for what dnsmasq or firmware
/// would take for something else.
std::string parse_http_folder(const std::string& text);

/// The settings, for the folder at this absolute path (dnsmasq(8)). UEFI firmware is given the file `efi`;
/// from `http`, if that is not empty, where it knows HTTP Boot (UEFI 2.10, 24.7).
std::string dnsmasq_settings(const DhcpRange& range, const std::string& path, const std::string& efi,
                             const std::string& http = "");

}  // namespace dupengine::boot
