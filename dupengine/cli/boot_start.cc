#include "cli/boot_start.h"

#include <unistd.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bootloader_hooks/dupengine_efi.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
    std::string efivars = machine::kEfivarsFolder, choice;
    unsigned tries = 0;
    bool forget = false;
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
std::string nobody_yet(const boot::EfiState& state) {
    return state.started_by ? ""
                            : "\nno dupengine.efi started this machine: nothing follows that until one does";
}

std::string own_name() {
    std::array<char, 256> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "this system";
}

int run_status(const Globals& globals, const Arguments& arguments) {
    const boot::EfiState state = boot::look_at_efi(machine::EfiVariables(arguments.efivars));
    const std::string started = state.started_by
                                    ? fmt::format("started by dupengine.efi {}", *state.started_by)
                                    : "not started by dupengine.efi";
    const std::string next = state.once ? "the next start does, once: " + *state.once
                                        : "the next start does what the profile says";
    const std::string tries = state.tries
                                  ? fmt::format("tries that are left: {}; not confirmed", *state.tries)
                                  : "starts are not counted";
    report(globals,
           {{"started_by", or_null(state.started_by)},
            {"once", or_null(state.once)},
            {"tries", or_null(state.tries)}},
           fmt::format("{}\n{}\n{}", started, next, tries));
    return 0;
}

int run_once(const Globals& globals, const Arguments& arguments) {
    if (arguments.forget == !arguments.choice.empty())
        throw_error(Code::kUsage, "say what the next start does, or --forget");
    machine::EfiVariables variables(arguments.efivars);
    if (arguments.forget) {
        boot::forget_once(variables);
        report(globals, {{"once", nullptr}}, "the next start does what the profile says");
        return 0;
    }
    boot::choose_once(variables, arguments.choice);
    report(globals, {{"once", arguments.choice}},
           fmt::format("the next start does, once: {}{}", arguments.choice,
                       nobody_yet(boot::look_at_efi(variables))));
    return 0;
}

int run_tries(const Globals& globals, const Arguments& arguments) {
    machine::EfiVariables variables(arguments.efivars);
    boot::set_tries(variables, arguments.tries);
    report(
        globals, {{"tries", std::to_string(arguments.tries)}},
        fmt::format("tries that are left: {}{}", arguments.tries, nobody_yet(boot::look_at_efi(variables))));
    return 0;
}

int run_confirm(const Globals& globals, const Arguments& arguments) {
    machine::EfiVariables variables(arguments.efivars);
    const auto tries = boot::confirm(variables);
    report(globals, {{"confirmed", tries.has_value()}, {"tries", or_null(tries)}, {"by", own_name()}},
           tries ? fmt::format("{} came up well, with {} tries left: starts are not counted any more",
                               own_name(), *tries)
                 : "starts are not counted, so there is nothing to confirm");
    return 0;
}

}  // namespace

void add_boot_start(CLI::App& boot, Globals& globals, Action& action) {
    const auto arguments = std::make_shared<Arguments>();
    const auto add = [&](const char* name, const char* description,
                         int (*run)(const Globals&, const Arguments&)) -> CLI::App& {
        CLI::App& verb = *boot.add_subcommand(name, description);
        verb.add_option("--efivars", arguments->efivars, "Where the variables of the firmware are")
            ->option_text("DIR");
        add_json_option(verb, globals);
        verb.callback([&globals, &action, arguments, run] {
            action = [&globals, arguments, run] { return run(globals, *arguments); };
        });
        return verb;
    };
    add("status", "Show what the next start does, and how many tries are left", run_status);
    CLI::App& once = add("once", "Let the next start do something else than the profile says", run_once);
    once.add_option("CHOICE", arguments->choice, "disk, kernel, receive or menu")->option_text(" ");
    once.add_flag("--forget", arguments->forget, "Take that back");
    add("tries", "Count starts, and fall back when so many did not come up well", run_tries)
        .add_option("N", arguments->tries, "1 to 99")
        ->required()
        ->option_text(" ");
    add("confirm", "This system came up well: do not count any more", run_confirm);
}

}  // namespace dupengine::cli
