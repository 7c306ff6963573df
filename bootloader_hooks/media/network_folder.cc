#include "bootloader_hooks/media/network_folder.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "bootloader_hooks/media/boot_words.h"
#include "bootloader_hooks/media/grub_image.h"
#include "image/new_file.h"
#include "profiles/names.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestKernel = kGiB, kLargestApplication = 16 * kMiB;

// Reads its menu from the server that it came from.
constexpr const char* kMenuFolder = "/grub";
constexpr const char* kNodes = "nodes";

std::uint32_t parse_ipv4(const std::string& text) {
    in_addr address{};
    if (::inet_pton(AF_INET, text.c_str(), &address) != 1)
        throw_error(Code::kUsage, "'{}' is no IPv4 address", text);
    return ntohl(address.s_addr);
}

bool is_interface_name(const std::string& name) {
    return !name.empty() && name.size() < IF_NAMESIZE && name != "." && name != ".." &&
           std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ','; });
}

}  // namespace

DhcpRange parse_dhcp_range(const std::string& interface, const std::string& range) {
    if (!is_interface_name(interface))
        throw_error(Code::kUsage, "'{}' is no name of a network interface", interface);
    const std::size_t comma = range.find(',');
    if (comma == std::string::npos)
        throw_error(Code::kUsage, "'{}' is no range of addresses, like 10.0.0.100,10.0.0.200", range);
    const DhcpRange parsed{interface, range.substr(0, comma), range.substr(comma + 1)};
    if (parse_ipv4(parsed.first) > parse_ipv4(parsed.last))
        throw_error(Code::kUsage, "{} comes behind {}", parsed.first, parsed.last);
    return parsed;
}

std::pair<std::string, std::string> parse_node(const std::string& text) {
    const std::size_t equals = text.find('=');
    std::string address = text.substr(0, equals);
    for (char& c : address)
        c = c == '-' ? ':' : c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    if (const std::string fault = profiles::mac_fault(address);
        equals == std::string::npos || equals + 1 == text.size() || !fault.empty())
        throw_error(Code::kUsage,
                    "'{}' is no address of a network card with a profile, like "
                    "52:54:00:12:34:56=web-1.toml",
                    text);
    std::ranges::replace(address, ':', '-');
    return {address, text.substr(equals + 1)};
}

void check_network_programs() {
    check_grub({kGrubOfEfi, kGrubOfPxe}, "the network");
}

std::string parse_http_folder(const std::string& text) {
    const bool is_address = text.starts_with("http://") || text.starts_with("https://");
    if (!is_address || text.ends_with("//") || text.find_first_of("\n\r\"#, ?") != std::string::npos)
        throw_error(Code::kUsage, "'{}' is no address of a folder on a web server, like http://10.0.0.1/pxe",
                    text);
    return text.substr(0, text.find_last_not_of('/') + 1);
}

std::string dnsmasq_settings(const DhcpRange& range, const std::string& path, const std::string& efi,
                             const std::string& http) {
    // The kinds of firmware are those of RFC 4578, 2.1, as corrected (its erratum 4625): 7 and 9 are both
    // met; and 16 is HTTP Boot.
    const std::string http_boot = http.empty() ? ""
                                               : fmt::format(
                                                     "dhcp-match=set:http,option:client-arch,16\n"
                                                     "dhcp-option-force=tag:http,60,HTTPClient\n"
                                                     "dhcp-boot=tag:http,{}/{}\n",
                                                     http, efi);
    return fmt::format(
        "# Made by dupengine media pxe: dnsmasq --conf-file={3}/dnsmasq.conf\n"
        "# DHCP and TFTP for machines that start over the network, and no names. No other DHCP server may\n"
        "# answer there.\n"
        "port=0\n"
        "interface={0}\n"
        "except-interface=lo\n"
        "bind-interfaces\n"
        "dhcp-range={1},{2},1h\n"
        "dhcp-match=set:efi,option:client-arch,7\n"
        "dhcp-match=set:efi,option:client-arch,9\n"
        "dhcp-match=set:bios,option:client-arch,0\n"
        "dhcp-userclass=set:ipxe,iPXE\n"
        "dhcp-boot=tag:efi,tag:!ipxe,{4}\n"
        "dhcp-boot=tag:bios,tag:!ipxe,{5}\n"
        "dhcp-boot=tag:ipxe,{6}\n"
        "{7}"
        "enable-tftp\n"
        "tftp-root={3}\n",
        range.interface, range.first, range.last, path, efi, kNetworkBios, kNetworkIpxe, http_boot);
}

void make_network_folder(const NetworkFolder& folder, const std::stop_token& stop) {
    check_network_programs();
    const std::string linux_content = read_file(folder.linux_file, Code::kUsage, kLargestKernel);
    std::string application;
    if (!folder.efi_application.empty())
        application = read_file(folder.efi_application, Code::kUsage, kLargestApplication);
    image::make_folder(folder.path);
    image::make_folder(folder.path + "/grub");
    const std::string absolute = fs::canonical(folder.path).string();
    if (folder.dhcp && absolute.find_first_of("\n\r\"#, ") != std::string::npos)
        throw_error(Code::kUsage, "{}: dnsmasq takes no folder with such a name", absolute);
    const auto write = [&](const std::string& name, std::string_view content) {
        write_file_atomic(absolute + "/" + name, as_bytes(content), 0644, Code::kTargetIo);
    };
    write(kNetworkEfi,
          make_grub_image(kGrubOfEfi, kMenuFolder, {"efinet", "net", "tftp", "all_video"}, stop));
    write(kNetworkBios, make_grub_image(kGrubOfPxe, kMenuFolder, {"pxe", "net", "tftp"}, stop));
    write("linux", linux_content);
    write("initramfs", folder.initramfs);
    if (!application.empty()) write(kNetworkDupengine, application);
    if (folder.dhcp)
        write("dnsmasq.conf", dnsmasq_settings(*folder.dhcp, absolute, folder.loaded_by_efi(), folder.http));
    image::make_folder(absolute + "/" + kNodes);
    for (const auto& [address, archive] : folder.nodes)
        write(fmt::format("{}/{}", kNodes, address), archive);
    // Last: what they name is there.
    write(kNetworkIpxe, ipxe_script(folder.command_line, "linux", "initramfs", kNodes,
                                    application.empty() ? "" : kNetworkDupengine));
    write("grub/grub.cfg",
          grub_menu(folder.command_line, "/linux", "/initramfs", fmt::format("/{}", kNodes)));
}

}  // namespace dupengine::boot
