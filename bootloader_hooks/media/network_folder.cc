#include "bootloader_hooks/media/network_folder.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/fd.h"
#include "base/subprocess.h"
#include "bootloader_hooks/media/boot_words.h"
#include "image/new_file.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestKernel = kGiB;

// A GRUB for one kind of firmware. The modules are in it, so that it asks the server for nothing but its
// menu.
struct NetworkGrub {
    const char* file;
    const char* format;   // of grub-mkimage
    const char* modules;  // where Debian has them
    const char* package;
    const char* drivers;  // of the firmware's network
};
constexpr std::array<NetworkGrub, 2> kGrubs = {
    {{kNetworkEfi, "x86_64-efi", "/usr/lib/grub/x86_64-efi", "grub-efi-amd64-bin", "efinet"},
     {kNetworkBios, "i386-pc-pxe", "/usr/lib/grub/i386-pc", "grub-pc-bin", "pxe"}}};

void make_grub(const NetworkGrub& grub, const std::string& folder) {
    const std::string made = folder + "/" + grub.file, temporary = made + ".new";
    const RunResult result = run_program(
        {"grub-mkimage", "--format", grub.format, "--directory", grub.modules, "--prefix", "/grub",
         "--output", temporary, grub.drivers, "net", "tftp", "normal", "linux", "echo", "reboot", "halt"});
    if (result.status != 0) {
        ::unlink(temporary.c_str());
        throw_error(Code::kInternal, "grub-mkimage for {} failed: {}", grub.format, result.complaint());
    }
    const std::string content = read_file(temporary, Code::kTargetIo);
    ::unlink(temporary.c_str());
    write_file_atomic(made, as_bytes(content), 0644, Code::kTargetIo);
}

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

void check_network_programs() {
    std::string missing;
    if (!program_exists("grub-mkimage")) missing += " grub-common";
    for (const NetworkGrub& grub : kGrubs)
        if (!fs::exists(std::string(grub.modules) + "/moddep.lst"))
            missing += std::string(" ") + grub.package;
    if (!missing.empty())
        throw_error(Code::kUnsupported, "GRUB for the network is not installed: apt install{}", missing);
}

std::string dnsmasq_settings(const DhcpRange& range, const std::string& path) {
    // The kinds of firmware are those of RFC 4578, 2.1, as corrected (its erratum 4625): 7 and 9 are both
    // met.
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
        "dhcp-boot=tag:efi,{4}\n"
        "dhcp-boot=tag:bios,{5}\n"
        "enable-tftp\n"
        "tftp-root={3}\n",
        range.interface, range.first, range.last, path, kNetworkEfi, kNetworkBios);
}

void make_network_folder(const NetworkFolder& folder) {
    check_network_programs();
    const std::string linux_content = read_file(folder.linux_file, Code::kUsage, kLargestKernel);
    image::make_folder(folder.path);
    image::make_folder(folder.path + "/grub");
    const std::string absolute = fs::canonical(folder.path).string();
    if (folder.dhcp && absolute.find_first_of("\n\r\"#, ") != std::string::npos)
        throw_error(Code::kUsage, "{}: dnsmasq takes no folder with such a name", absolute);
    const auto write = [&](const std::string& name, std::string_view content) {
        write_file_atomic(absolute + "/" + name, as_bytes(content), 0644, Code::kTargetIo);
    };
    for (const NetworkGrub& grub : kGrubs)
        make_grub(grub, absolute);
    write("linux", linux_content);
    write("initramfs", folder.initramfs);
    if (folder.dhcp) write("dnsmasq.conf", dnsmasq_settings(*folder.dhcp, absolute));
    // Last: what it names is there.
    write("grub/grub.cfg", grub_menu(folder.command_line, "/linux", "/initramfs"));
}

}  // namespace dupengine::boot
