// dupengine media: initramfs, pxe, esp, iso. See dupengine-media(8).

#include <memory>

#include "cli/media_options.h"

namespace dupengine::cli {
namespace {

void add_system_options(CLI::App& verb, boot::InitramfsOptions& system) {
    verb.add_option("--kernel", system.kernel, "For this kernel (the one that runs)")->option_text("VERSION");
    verb.add_option("--drivers", system.only_this_machine,
                    "For the devices of any machine (all, if nothing is said) or of this one alone (this)")
        ->transform(one_of(std::map<std::string, bool>{{"all", false}, {"this", true}}))
        ->option_text("all|this");
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

void add_made_before(CLI::App& verb, MediaOptions& options) {
    verb.add_option("--initramfs", options.initramfs, "Take this small system, made before")
        ->option_text("FILE");
    verb.add_option("--linux", options.linux_file, "... and its kernel")->option_text("FILE");
}

void add_entry(CLI::App& verb, MediaOptions& options) {
    verb.add_option("--efi", options.efi_application,
                    "Put in this dupengine.efi, as one more entry of the menu")
        ->option_text("FILE");
}

CLI::App& add_sub_verb(CLI::App& media, const char* name, const char* description, Globals& globals,
                       Action& action, const std::shared_ptr<MediaOptions>& options,
                       int (*run)(const Globals&, const MediaOptions&)) {
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
    const auto options = std::make_shared<MediaOptions>();
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
    pxe.add_option("--node", options->nodes,
                   "The profile of the machine with this network card, if its disk has none; may be repeated")
        ->option_text("MAC=FILE.toml")
        ->allow_extra_args(false);
    pxe.add_option("--interface", options->interface, "Write a dnsmasq.conf for this network interface")
        ->option_text("NAME");
    pxe.add_option("--dhcp-range", options->range, "... which gives these addresses")
        ->option_text("FIRST,LAST");
    pxe.add_option("--http", options->http,
                   "... and sends firmware that knows HTTP Boot to the folder on this web server")
        ->option_text("ADDRESS");
    pxe.add_option("DIR", options->output, "The folder; made if it is not there")->required();

    CLI::App& esp =
        add_sub_verb(media, "esp", "Make a stick that starts machines with UEFI or BIOS, or its image",
                     globals, action, options, run_esp);
    add_boot_words(esp, options->words);
    add_made_before(esp, *options);
    add_entry(esp, *options);
    add_plan_options(esp, globals);
    add_progress_option(esp, globals);
    esp.add_option("TARGET", options->output,
                   "A stick (a block device), or a file; dupengine copy puts that on one")
        ->required();

    CLI::App& iso =
        add_sub_verb(media, "iso", "Make the image of a CD that starts machines with UEFI or BIOS", globals,
                     action, options, run_iso);
    add_boot_words(iso, options->words);
    add_made_before(iso, *options);
    add_entry(iso, *options);
    iso.add_option("FILE", options->output, "Where it goes")->required();
}

}  // namespace dupengine::cli
