// dupengine media pxe: the folder from which machines start over the network.

#include <filesystem>

#include "base/error.h"
#include "bootloader_hooks/media/network_folder.h"
#include "cli/interrupt.h"
#include "cli/media_options.h"

namespace dupengine::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::string pxe_text(const MediaOptions& options, const std::string& command_line,
                     const boot::Initramfs& system, const std::string& efi) {
    std::string text = fmt::format("made {}; the small system: {}\nkernel command line: {}\n", options.output,
                                   system_text(system), command_line);
    if (!options.interface.empty())
        return text + fmt::format("serve it:  dnsmasq --no-daemon --conf-file={}/dnsmasq.conf",
                                  fs::canonical(options.output).string());
    return text + fmt::format(
                      "serve it by TFTP; DHCP names the file {} to UEFI (option 93: 7, 9), {} to BIOS (0) "
                      "and {} to iPXE",
                      efi, boot::kNetworkBios, boot::kNetworkIpxe);
}

}  // namespace

int run_pxe(const Globals& globals, const MediaOptions& options) {
    // What is wrong is found before anything is made, which takes a while.
    boot::NetworkFolder folder;
    folder.command_line = boot::kernel_command_line(options.words);
    if (options.interface.empty() != options.range.empty())
        throw_error(Code::kUsage, "--interface and --dhcp-range belong together");
    if (!options.interface.empty()) folder.dhcp = boot::parse_dhcp_range(options.interface, options.range);
    if (!options.http.empty()) {
        if (options.efi_application.empty() || options.interface.empty())
            throw_error(Code::kUsage,
                        "--http is for the dnsmasq.conf of --interface, and firmware is given the "
                        "application of --efi from there");
        folder.http = boot::parse_http_folder(options.http);
    }
    // A script that iPXE would change is refused before anything is made, too.
    static_cast<void>(boot::ipxe_script(folder.command_line, "", "", "", ""));
    for (const std::string& text : options.nodes) {
        const auto [address, file] = boot::parse_node(text);
        if (!folder.nodes.emplace(address, boot::profile_archive(file)).second)
            throw_error(Code::kUsage, "two profiles are given for {}", address);
    }
    folder.efi_application = options.efi_application;
    check_efi_application(options);
    boot::check_network_programs();
    folder.path = options.output;
    const InterruptWatch interrupt;
    const Started started = find_started(options, interrupt.token());
    const boot::Initramfs& system = started.system;
    folder.linux_file = started.linux_file;
    folder.initramfs = system.content;
    boot::make_network_folder(folder, interrupt.token());
    if (system.is_secret)
        warn_of_secret(
            fmt::format("{}/initramfs: holds the secret key of an enrolment, and whoever is in that "
                        "network can read it; revoke it when it was used",
                        options.output));
    ordered_json json = {{"result", "ok"},
                         {"folder", options.output},
                         {"command_line", folder.command_line},
                         {"efi", folder.loaded_by_efi()},
                         {"bios", boot::kNetworkBios},
                         {"ipxe", boot::kNetworkIpxe},
                         {"nodes", options.nodes.size()},
                         {"dnsmasq", folder.dhcp.has_value()},
                         {"initramfs", system_json(system)}};
    print_made(globals, json, pxe_text(options, folder.command_line, system, folder.loaded_by_efi()));
    return 0;
}

}  // namespace dupengine::cli
