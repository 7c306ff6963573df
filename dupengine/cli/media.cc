// dupengine media: initramfs, pxe, esp. See dupengine-media(8).

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/units.h"
#include "bootloader_hooks/media/boot_disk.h"
#include "bootloader_hooks/media/boot_words.h"
#include "bootloader_hooks/media/initramfs.h"
#include "bootloader_hooks/media/network_folder.h"
#include "bootloader_hooks/media/work_folder.h"
#include "cli/command.h"
#include "cli/created_file.h"
#include "cli/interrupt.h"
#include "image/new_file.h"

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
    std::string efi_application;
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
    const InterruptWatch interrupt;
    const boot::Initramfs system = boot::make_initramfs(options.system, interrupt.token());
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
    if (!system.trusted.empty() || !system.ca_file.empty() || !system.enrolment.empty() ||
        !system.profile.empty())
        throw_error(Code::kUsage,
                    "what --initramfs names is taken as it is; give --trust, --ca-file, "
                    "--enrolment and --profile to dupengine media initramfs");
    return true;
}

boot::Initramfs take_or_make(const Options& options, bool made_before, const std::stop_token& stop) {
    if (!made_before) return boot::make_initramfs(options.system, stop);
    try {
        return boot::check_initramfs(read_file(options.initramfs, Code::kUsage, kLargestInitramfs));
    } catch (Error& e) {
        e.add_context(options.initramfs);
        throw;
    }
}

// The kernel and the small system that it starts, once it is clear that they fit.
struct Started {
    std::string linux_file;
    boot::Initramfs system;
};

Started find_started(const Options& options, const std::stop_token& stop) {
    const bool made_before = is_made_before(options);
    Started started{made_before ? options.linux_file : "/boot/vmlinuz-" + options.system.kernel, {}};
    if (!fs::is_regular_file(started.linux_file))
        throw_error(Code::kUsage, "{}: there is no such kernel; --kernel or --linux names another",
                    started.linux_file);
    started.system = take_or_make(options, made_before, stop);
    boot::check_can_start(started.system, read_file(started.linux_file, Code::kUsage), started.linux_file,
                          options.words);
    return started;
}

void check_efi_application(const Options& options) {
    if (!options.efi_application.empty() && !fs::is_regular_file(options.efi_application))
        throw_error(Code::kUsage, "{}: there is no such file", options.efi_application);
}

std::string pxe_text(const Options& options, const std::string& command_line, const boot::Initramfs& system,
                     const std::string& efi) {
    std::string text = fmt::format("made {}; the small system: {}\nkernel command line: {}\n", options.output,
                                   system_text(system), command_line);
    if (!options.interface.empty())
        return text + fmt::format("serve it:  dnsmasq --no-daemon --conf-file={}/dnsmasq.conf",
                                  fs::canonical(options.output).string());
    return text + fmt::format(
                      "serve it by TFTP; DHCP names the file {} to UEFI (option 93: 7, 9) and {} to BIOS (0)",
                      efi, boot::kNetworkBios);
}

int run_pxe(const Globals& globals, const Options& options) {
    // What is wrong is found before anything is made, which takes a while.
    boot::NetworkFolder folder;
    folder.command_line = boot::kernel_command_line(options.words);
    if (options.interface.empty() != options.range.empty())
        throw_error(Code::kUsage, "--interface and --dhcp-range belong together");
    if (!options.interface.empty()) folder.dhcp = boot::parse_dhcp_range(options.interface, options.range);
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
                         {"dnsmasq", folder.dhcp.has_value()},
                         {"initramfs", system_json(system)}};
    print(globals, json, pxe_text(options, folder.command_line, system, folder.loaded_by_efi()));
    return 0;
}

// What is in `made`, a raw image, in its place: whole or not at all.
void put_in_place(const std::string& made, const std::string& path, bool is_secret) {
    if (is_secret) ::umask(0077);  // which the new file's mode is made of
    const Fd fd = open_path(made, O_RDONLY | O_CLOEXEC, Code::kTargetIo);
    image::NewFile file(path);
    Bytes piece(kMiB);
    for (std::uint64_t left = fs::file_size(made), at = 0; left > 0; left -= piece.size()) {
        piece.resize(std::min<std::uint64_t>(left, kMiB));
        pread_exact(fd.get(), at, piece, Code::kTargetIo, made);
        file.append(piece);
        at += piece.size();
    }
    file.commit();
}

int run_esp(const Globals& globals, const Options& options) {
    if (fs::is_block_file(options.output))
        throw_error(
            Code::kUsage,
            "{0}: is a disk; name a file, and then: dupengine copy FILE {0}, which knows what of it is "
            "in use or protected",
            options.output);
    check_is_file(options.output);
    boot::BootDisk disk;
    disk.command_line = boot::kernel_command_line(options.words);
    disk.efi_application = options.efi_application;
    boot::check_boot_disk_programs();
    check_efi_application(options);
    const InterruptWatch interrupt;
    const Started started = find_started(options, interrupt.token());
    disk.linux_file = started.linux_file;
    const boot::WorkFolder work;
    disk.initramfs_file = work.file("initramfs");
    write_file_atomic(disk.initramfs_file, as_bytes(started.system.content), 0600, Code::kTargetIo);
    SystemRandom random;
    boot::make_boot_disk(disk, work.file("disk"), random, interrupt.token());
    put_in_place(work.file("disk"), options.output, started.system.is_secret);
    if (started.system.is_secret)
        warn_of_secret(fmt::format(
            "{}: holds the secret key of an enrolment; keep it, and the stick, like a key", options.output));
    const std::uint64_t bytes = fs::file_size(options.output);
    print(globals,
          {{"result", "ok"},
           {"file", options.output},
           {"bytes", bytes},
           {"command_line", disk.command_line},
           {"dupengine_efi", !disk.efi_application.empty()},
           {"initramfs", system_json(started.system)}},
          fmt::format("made {}, {}, for UEFI and BIOS; the small system: {}\nkernel command line: {}\n"
                      "put it on a stick:  dupengine copy {} /dev/DISK",
                      options.output, format_size(bytes), system_text(started.system), disk.command_line,
                      options.output));
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
    verb.add_option("--profile", system.profile,
                    "Put in the profile of a node, for a machine whose disk has none")
        ->option_text("FILE.toml");
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

void add_made_before(CLI::App& verb, Options& options) {
    verb.add_option("--initramfs", options.initramfs, "Take this small system, made before")
        ->option_text("FILE");
    verb.add_option("--linux", options.linux_file, "... and its kernel")->option_text("FILE");
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
    initramfs.add_option("FILE", options->output, "Where it goes")->required();

    CLI::App& pxe = add_sub_verb(media, "pxe", "Make the folder from which machines start over the network",
                                 globals, action, options, run_pxe);
    add_boot_words(pxe, options->words);
    add_made_before(pxe, *options);
    pxe.add_option("--efi", options->efi_application,
                   "Start machines with UEFI by this dupengine.efi, which follows their profiles")
        ->option_text("FILE");
    pxe.add_option("--interface", options->interface, "Write a dnsmasq.conf for this network interface")
        ->option_text("NAME");
    pxe.add_option("--dhcp-range", options->range, "... which gives these addresses")
        ->option_text("FIRST,LAST");
    pxe.add_option("DIR", options->output, "The folder; made if it is not there")->required();

    CLI::App& esp =
        add_sub_verb(media, "esp", "Make the image of a stick that starts machines with UEFI or BIOS",
                     globals, action, options, run_esp);
    add_boot_words(esp, options->words);
    add_made_before(esp, *options);
    esp.add_option("--efi", options->efi_application,
                   "Put in this dupengine.efi, as one more entry of the menu")
        ->option_text("FILE");
    esp.add_option("FILE", options->output, "Where it goes; dupengine copy puts it on a stick")->required();
}

}  // namespace dupengine::cli
