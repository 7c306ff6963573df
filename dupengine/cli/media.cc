// dupengine media: initramfs, pxe. See dupengine-media(8).

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/units.h"
#include "bootloader_hooks/media/boot_words.h"
#include "bootloader_hooks/media/initramfs.h"
#include "bootloader_hooks/media/network_folder.h"
#include "cli/command.h"
#include "cli/created_file.h"

namespace dupengine::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::size_t kLargestInitramfs = 2 * kGiB;

// Everything that the sub-verbs may be given.
struct Options {
    boot::InitramfsOptions system;
    boot::BootWords words;
    std::string initramfs, linux_file;  // made before
    std::string interface, range;
    std::string output;
};

void warn_of_secret(const std::string& line) {
    fmt::print(stderr, "dupengine: {}\n", line);
}

ordered_json system_json(const boot::Initramfs& system) {
    return {{"bytes", system.content.size()},
            {"modules", system.modules},
            {"added", system.added},
            {"secret", system.is_secret}};
}

std::string system_text(const boot::Initramfs& system) {
    std::string text =
        fmt::format("{}, {} kernel modules", format_size(system.content.size()), system.modules);
    for (const std::string& path : system.added)
        text += "\n    /" + path;
    return text;
}

void print(const Globals& globals, ordered_json json, const std::string& text) {
    fmt::print("{}\n",
               globals.json ? json.dump(2, ' ', false, ordered_json::error_handler_t::replace) : text);
}

// What is renamed into its place would replace the node of a disk.
void check_is_file(const std::string& path) {
    if (!fs::exists(path)) return refuse_place_in_dev(path);
    if (!fs::is_regular_file(path))
        throw_error(Code::kRefused, "{}: is not a file; name one that does not exist", path);
}

int run_initramfs(const Globals& globals, const Options& options) {
    check_is_file(options.output);
    const boot::Initramfs system = boot::make_initramfs(options.system);
    write_file_atomic(options.output, as_bytes(system.content), system.is_secret ? 0600 : 0644,
                      Code::kTargetIo);
    if (system.is_secret)
        warn_of_secret(
            fmt::format("{}: holds the secret key of an enrolment; keep it like a key", options.output));
    ordered_json json = {{"result", "ok"}, {"file", options.output}, {"kernel", options.system.kernel}};
    json.update(system_json(system));
    print(
        globals, json,
        fmt::format("made {} for kernel {}: {}", options.output, options.system.kernel, system_text(system)));
    return 0;
}

bool is_made_before(const Options& options) {
    if (options.initramfs.empty() != options.linux_file.empty())
        throw_error(Code::kUsage,
                    "--initramfs and --linux belong together: a kernel takes only its own modules");
    if (options.initramfs.empty()) return false;
    const boot::InitramfsOptions& system = options.system;
    if (!system.trusted.empty() || !system.ca_file.empty() || !system.enrolment.empty())
        throw_error(Code::kUsage,
                    "what --initramfs names is taken as it is; give --trust, --ca-file and "
                    "--enrolment to dupengine media initramfs");
    return true;
}

boot::Initramfs take_or_make(const Options& options, bool made_before) {
    if (!made_before) return boot::make_initramfs(options.system);
    try {
        return boot::check_initramfs(read_file(options.initramfs, Code::kUsage, kLargestInitramfs));
    } catch (Error& e) {
        e.add_context(options.initramfs);
        throw;
    }
}

std::string pxe_text(const Options& options, const std::string& command_line, const boot::Initramfs& system) {
    std::string text = fmt::format("made {}; the small system: {}\nkernel command line: {}\n", options.output,
                                   system_text(system), command_line);
    if (!options.interface.empty())
        return text + fmt::format("serve it:  dnsmasq --no-daemon --conf-file={}/dnsmasq.conf",
                                  fs::canonical(options.output).string());
    return text + fmt::format(
                      "serve it by TFTP; DHCP names the file {} to UEFI (option 93: 7, 9) and {} to BIOS (0)",
                      boot::kNetworkEfi, boot::kNetworkBios);
}

int run_pxe(const Globals& globals, const Options& options) {
    // What is wrong is found before anything is made, which takes a while.
    boot::NetworkFolder folder;
    folder.command_line = boot::kernel_command_line(options.words);
    if (options.interface.empty() != options.range.empty())
        throw_error(Code::kUsage, "--interface and --dhcp-range belong together");
    if (!options.interface.empty()) folder.dhcp = boot::parse_dhcp_range(options.interface, options.range);
    const bool made_before = is_made_before(options);
    boot::check_network_programs();
    folder.path = options.output;
    folder.linux_file = made_before ? options.linux_file : "/boot/vmlinuz-" + options.system.kernel;
    if (!fs::is_regular_file(folder.linux_file))
        throw_error(Code::kUsage, "{}: there is no such kernel; --kernel or --linux names another",
                    folder.linux_file);
    const boot::Initramfs system = take_or_make(options, made_before);
    boot::check_can_start(system, read_file(folder.linux_file, Code::kUsage), folder.linux_file,
                          options.words);
    folder.initramfs = system.content;
    boot::make_network_folder(folder);
    if (system.is_secret)
        warn_of_secret(
            fmt::format("{}/initramfs: holds the secret key of an enrolment, and whoever is in that "
                        "network can read it; revoke it when it was used",
                        options.output));
    ordered_json json = {{"result", "ok"},
                         {"folder", options.output},
                         {"command_line", folder.command_line},
                         {"efi", boot::kNetworkEfi},
                         {"bios", boot::kNetworkBios},
                         {"dnsmasq", folder.dhcp.has_value()},
                         {"initramfs", system_json(system)}};
    print(globals, json, pxe_text(options, folder.command_line, system));
    return 0;
}

void add_system_options(CLI::App& verb, boot::InitramfsOptions& system) {
    verb.add_option("--kernel", system.kernel, "For this kernel (the one that runs)")->option_text("VERSION");
    verb.add_option("--trust", system.trusted,
                    "Put in a public key that may have signed images; may be repeated")
        ->option_text("FILE")
        ->allow_extra_args(false);
    verb.add_option("--ca-file", system.ca_file, "Put in the authority of the web server")
        ->option_text("FILE");
    verb.add_option("--enrolment", system.enrolment,
                    "Put in the enrolment in this folder, with its secret key (never by itself)")
        ->option_text("DIR");
}

void add_boot_words(CLI::App& verb, boot::BootWords& words) {
    verb.add_option("--copy", words.copied,
                    "Who starts copies this (https://HOST/STORE#NAME, dup://HOST/NAME)")
        ->option_text("SOURCE");
    verb.add_flag("--receive", words.receives, "Who starts receives another machine");
    verb.add_flag("--live", words.is_live, "... with its memory");
    verb.add_flag("--assume", words.assumes, "Who starts takes up the role of its profile");
    verb.add_option(
            "--target", words.targets,
            "The disk of who starts, as a path; what is on it is lost; may be repeated with --receive")
        ->option_text("DISK")
        ->allow_extra_args(false);
    verb.add_option("--then", words.afterwards, "What follows: reboot, poweroff, shell")
        ->check(CLI::IsMember({"reboot", "poweroff", "shell"}))
        ->option_text("WORD");
    verb.add_option("--append", words.appended,
                    "One more word for the kernel (console=ttyS0); may be repeated")
        ->option_text("WORD")
        ->allow_extra_args(false);
}

CLI::App& add_sub_verb(CLI::App& media, const char* name, const char* description, Globals& globals,
                       Action& action, const std::shared_ptr<Options>& options,
                       int (*run)(const Globals&, const Options&)) {
    CLI::App& verb = *media.add_subcommand(name, description);
    add_json_option(verb, globals);
    add_system_options(verb, options->system);
    verb.callback([&globals, &action, options, run] {
        if (options->system.kernel.empty()) options->system.kernel = boot::running_kernel();
        action = [&globals, options, run] { return run(globals, *options); };
    });
    return verb;
}

}  // namespace

void add_media(CLI::App& app, Globals& globals, Action& action) {
    CLI::App& media =
        *app.add_subcommand("media", "Make what starts a machine that has no system of its own");
    media.require_subcommand(1);
    const auto options = std::make_shared<Options>();
    CLI::App& initramfs =
        add_sub_verb(media, "initramfs", "Make the small system, which copies, receives and takes up roles",
                     globals, action, options, run_initramfs);
    initramfs.add_option("FILE", options->output, "Where it goes")->required()->option_text(" ");

    CLI::App& pxe = add_sub_verb(media, "pxe", "Make the folder from which machines start over the network",
                                 globals, action, options, run_pxe);
    add_boot_words(pxe, options->words);
    pxe.add_option("--initramfs", options->initramfs, "Take this small system, made before")
        ->option_text("FILE");
    pxe.add_option("--linux", options->linux_file, "... and its kernel")->option_text("FILE");
    pxe.add_option("--interface", options->interface, "Write a dnsmasq.conf for this network interface")
        ->option_text("NAME");
    pxe.add_option("--dhcp-range", options->range, "... which gives these addresses")
        ->option_text("FIRST,LAST");
    pxe.add_option("DIR", options->output, "The folder; made if it is not there")
        ->required()
        ->option_text(" ");
}

}  // namespace dupengine::cli
