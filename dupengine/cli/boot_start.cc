#include "cli/boot_start.h"

#include <unistd.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bootloader_hooks/loader.h"
#include "cli/boot_image.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
    boot::Places places;
    std::vector<std::string> disks;
    std::string loader, choice;
    boot::SmallSystem system;
    unsigned tries = 0;
    bool forget = false;

    std::unique_ptr<boot::Loader> find() const { return boot::find_loader(places, loader); }
    std::optional<std::string> wanted() const {
        return forget ? std::nullopt : std::optional<std::string>(choice);
    }
};

void report(const Globals& globals, ordered_json json, const std::string& text) {
    json["result"] = "ok";
    fmt::print("{}\n",
               globals.json ? json.dump(2, ' ', false, ordered_json::error_handler_t::replace) : text);
}

ordered_json or_null(const std::optional<std::string>& text) {
    return text ? ordered_json(*text) : ordered_json();
}

// Who set something that nobody follows should know it.
std::string nobody_yet(const boot::Loader& loader) {
    return loader.look().started_by
               ? ""
               : fmt::format("\nno {} started this machine: nothing follows that until one does",
                             loader.name());
}

std::string own_name() {
    std::array<char, 256> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "this system";
}

std::string started_text(const boot::Loader& loader, const boot::LoaderState& state) {
    if (!state.started_by) return fmt::format("not started by {}", loader.name());
    return fmt::format("started by {}{}{}", loader.name(), state.started_by->empty() ? "" : " ",
                       *state.started_by);
}

int run_status(const Globals& globals, const Arguments& arguments) {
    const auto loader = arguments.find();
    const boot::LoaderState state = loader->look();
    const std::string usual = state.by_default.value_or(std::string(loader->usual()));
    const std::string next = state.once ? "the next start does, once: " + *state.once
                                        : fmt::format("the next start does {}", usual);
    const std::string tries = state.tries
                                  ? fmt::format("tries that are left: {}; not confirmed", *state.tries)
                                  : "starts are not counted";
    report(globals,
           {{"loader", loader->name()},
            {"started_by", or_null(state.started_by)},
            {"once", or_null(state.once)},
            {"default", or_null(state.by_default)},
            {"tries", or_null(state.tries)},
            {"small_system", state.has_small_system}},
           fmt::format("{}\n{}\n{}{}", started_text(*loader, state), next, tries,
                       state.has_small_system ? "\nit has entries for the small system" : ""));
    return 0;
}

int run_install(const Globals& globals, const Arguments& arguments) {
    const auto loader = arguments.find();
    loader->install(arguments.system);
    const bool duplicates = !arguments.system.duplicate.empty();
    report(globals, {{"loader", loader->name()}, {"duplicate", duplicates}},
           fmt::format("{} has entries for the small system: {}{}", loader->name(), boot::kRecovery,
                       duplicates ? fmt::format(", {}", boot::kDuplicate) : ""));
    return 0;
}

int run_remove(const Globals& globals, const Arguments& arguments) {
    const auto loader = arguments.find();
    loader->remove();
    report(globals, {{"loader", loader->name()}},
           fmt::format("{} has no entries for the small system", loader->name()));
    return 0;
}

void check_choice(const Arguments& arguments) {
    if (arguments.forget == !arguments.choice.empty())
        throw_error(Code::kUsage, "say what it does, or --forget");
}

int run_once(const Globals& globals, const Arguments& arguments) {
    check_choice(arguments);
    const auto loader = arguments.find();
    loader->choose_once(arguments.wanted());
    report(globals, {{"once", or_null(arguments.wanted())}},
           arguments.forget
               ? fmt::format("the next start does {}", loader->usual())
               : fmt::format("the next start does, once: {}{}", arguments.choice, nobody_yet(*loader)));
    return 0;
}

int run_default(const Globals& globals, const Arguments& arguments) {
    check_choice(arguments);
    const auto loader = arguments.find();
    loader->choose_default(arguments.wanted());
    report(globals, {{"default", or_null(arguments.wanted())}},
           arguments.forget ? fmt::format("every start does {}", loader->usual())
                            : fmt::format("every start does: {}{}", arguments.choice, nobody_yet(*loader)));
    return 0;
}

int run_tries(const Globals& globals, const Arguments& arguments) {
    const auto loader = arguments.find();
    loader->set_tries(arguments.tries);
    report(globals, {{"tries", std::to_string(arguments.tries)}},
           fmt::format("tries that are left: {}{}", arguments.tries, nobody_yet(*loader)));
    return 0;
}

// Of another machine, or of a tree, nothing is known of its disks.
bool is_of_this_machine(const boot::Places& places) {
    return places.root.empty() && places.efivars == machine::kEfivarsFolder;
}

int run_confirm(const Globals& globals, const Arguments& arguments) {
    const auto tries = arguments.find()->confirm();
    std::string image;
    if (!arguments.disks.empty() || is_of_this_machine(arguments.places))
        image = note_that_it_came_up(arguments.disks);
    std::string text =
        tries ? fmt::format("{} came up well, with {} tries left: starts are not counted any more",
                            own_name(), *tries)
              : "starts are not counted, so there is nothing to confirm";
    if (!image.empty()) text += fmt::format("\n{} came up: noted, for when a newer version does not", image);
    report(
        globals,
        {{"confirmed", tries.has_value()}, {"tries", or_null(tries)}, {"by", own_name()}, {"image", image}},
        text);
    return 0;
}

void add_choice(CLI::App& verb, Arguments& arguments, const char* words) {
    verb.add_option("CHOICE", arguments.choice, words);
    verb.add_flag("--forget", arguments.forget, "Take that back");
}

}  // namespace

void add_boot_start(CLI::App& boot, Globals& globals, Action& action) {
    const auto arguments = std::make_shared<Arguments>();
    const auto add = [&](const char* name, const char* description,
                         int (*run)(const Globals&, const Arguments&)) -> CLI::App& {
        CLI::App& verb = *boot.add_subcommand(name, description);
        verb.add_option("--loader", arguments->loader, "dupengine.efi, systemd-boot or grub")
            ->option_text("NAME");
        verb.add_option("--root", arguments->places.root, "Where the system's folders are")
            ->option_text("DIR");
        verb.add_option("--esp", arguments->places.esp, "Where the EFI system partition is mounted")
            ->option_text("DIR");
        verb.add_option("--efivars", arguments->places.efivars, "Where the variables of the firmware are")
            ->option_text("DIR");
        add_json_option(verb, globals);
        verb.callback([&globals, &action, arguments, run] {
            action = [&globals, arguments, run] { return run(globals, *arguments); };
        });
        return verb;
    };
    add("status", "Show what the next start does, and how many tries are left", run_status);
    CLI::App& install = add("install", "Give the loader entries for the small system", run_install);
    boot::SmallSystem& system = arguments->system;
    install.add_option("--kernel", system.kernel, "Its kernel")->required()->option_text("FILE");
    install.add_option("--initrd", system.initrd, "Its initrd")->required()->option_text("FILE");
    install.add_option("--command-line", system.command_line, "What its kernel is told")->option_text("TEXT");
    install.add_option("--duplicate", system.duplicate, "What more makes it duplicate by itself")
        ->option_text("TEXT");
    add("remove", "Take them away again", run_remove);
    add_choice(add("once", "Let the next start do something else", run_once), *arguments,
               "disk, kernel, receive, restore or menu; recovery or duplicate");
    add_choice(add("default", "Let every start do something else", run_default), *arguments,
               "recovery or duplicate");
    add("tries", "Count starts, and fall back when so many did not come up well", run_tries)
        .add_option("N", arguments->tries, "1 to 99")
        ->required();
    add("confirm", "This system came up well: do not count any more", run_confirm)
        .add_option(
            "--disk", arguments->disks,
            "The disk whose image came up, instead of those that this system runs from; may be repeated")
        ->option_text("DISK")
        ->allow_extra_args(false);
}

}  // namespace dupengine::cli
