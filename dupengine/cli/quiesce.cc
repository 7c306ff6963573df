// dupengine quiesce: the verb and its options, and `list`. See dupengine-quiesce(8).

#include "cli/quiesce.h"

#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/text.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;

ordered_json to_json(const std::vector<machine::NotCalled>& places) {
    ordered_json list = ordered_json::array();
    for (const machine::NotCalled& place : places)
        list.push_back({{"where", printable(place.where, Charset::kUtf8)},
                        {"why", printable(place.why, Charset::kUtf8)}});
    return list;
}

void print_json(const machine::FoundParticipants& found) {
    ordered_json participants = ordered_json::array();
    for (const auto& participant : found.participants)
        participants.push_back({{"name", participant->name()}, {"where", participant->where()}});
    const ordered_json report = {{"participants", participants},
                                 {"masked", to_json(found.masked)},
                                 {"ignored", to_json(found.ignored)},
                                 {"refused", to_json(found.refused)}};
    fmt::print("{}\n", report.dump(2, ' ', false, ordered_json::error_handler_t::replace));
}

void print_text(const machine::FoundParticipants& found) {
    const Charset charset = look_at_terminal(STDOUT_FILENO).style.charset;
    for (const auto& participant : found.participants)
        fmt::print("{:<24} {}\n", participant->name(), printable(participant->where(), charset));
    const auto print_rest = [&](const char* word, const std::vector<machine::NotCalled>& places) {
        for (const machine::NotCalled& place : places)
            fmt::print("{}: {}: {}\n", word, printable(place.where, charset), printable(place.why, charset));
    };
    print_rest("masked", found.masked);
    print_rest("ignored", found.ignored);
    print_rest("refused", found.refused);
}

void add_places(CLI::App& verb, const std::shared_ptr<QuiesceArguments>& arguments) {
    verb.add_option(
            "--hooks", arguments->hook_folders,
            "Folder of executables, instead of the usual ones; may be repeated, the first has precedence")
        ->option_text("DIR")
        ->allow_extra_args(false);
    verb.add_option("--sockets", arguments->sockets.folder, "Folder of sockets, instead of the usual one")
        ->option_text("DIR");
}

void add_run(CLI::App& verb, Globals& globals, const std::shared_ptr<QuiesceArguments>& arguments) {
    verb.add_option("COMMAND", arguments->command, "Is run while all are prepared; write -- in front");
    add_places(verb, arguments);
    verb.add_option("--target", arguments->target, "What participants are told of where the duplicate goes")
        ->option_text("NAME");
    verb.add_option("--deadline", arguments->call_seconds, "For each call (5)")
        ->check(CLI::Range(0.01, 3600.0).description(""))
        ->option_text("SECONDS");
    verb.add_option("--overall-deadline", arguments->overall_seconds, "For preparing all of them (30)")
        ->check(CLI::Range(0.01, 3600.0).description(""))
        ->option_text("SECONDS");
    add_json_option(verb, globals);
}

void add_wait(CLI::App& verb, const std::shared_ptr<QuiesceArguments>& arguments) {
    verb.add_option("--name", arguments->name, "NN-name: the order, and what it is called")
        ->required()
        ->option_text("NAME");
    const auto add = [&](const char* option, std::string& command, const char* what) {
        verb.add_option(option, command, what)->option_text("COMMAND");
    };
    add("--prepare", arguments->prepare, "For sh -c: come to rest; a status other than 0 is a veto");
    add("--resume-source", arguments->resume_source, "Go on after the duplication");
    add("--resume-target", arguments->resume_target, "Go on as the duplicate");
    add("--abort", arguments->abort, "Go on: nothing happened");
    verb.add_option("--sockets", arguments->sockets.folder, "Folder of sockets, instead of the usual one")
        ->option_text("DIR");
}

}  // namespace

std::string shown_output(const std::string& text) {
    const Charset charset = look_at_terminal(STDERR_FILENO).style.charset;
    std::string shown;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        shown += "    " + printable(line, charset) + "\n";
    return shown;
}

int list_quiesce(const QuiesceArguments& arguments, const Globals& globals) {
    const auto found = machine::find_participants(arguments.hooks, arguments.sockets);
    if (globals.json)
        print_json(found);
    else
        print_text(found);
    return found.refused.empty() ? 0 : static_cast<int>(Code::kRefused);
}

void add_quiesce(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb = app.add_subcommand(
        "quiesce", "Bring applications to rest for a moment, or let a program take part in that");
    verb->require_subcommand(1);
    const auto arguments = std::make_shared<QuiesceArguments>();
    const auto runs = [&action, &globals, arguments](auto run) {
        return [&action, &globals, arguments, run] {
            if (!arguments->hook_folders.empty()) arguments->hooks.folders = arguments->hook_folders;
            action = [=, &globals] { return run(*arguments, globals); };
        };
    };
    CLI::App* run = verb->add_subcommand("run", "Prepare all participants, run a command, let them go on");
    add_run(*run, globals, arguments);
    run->callback(runs(run_quiesce));
    CLI::App* list = verb->add_subcommand("list", "Show who would be called, in order, and who cannot be");
    add_places(*list, arguments);
    add_json_option(*list, globals);
    list->callback(runs(list_quiesce));
    CLI::App* wait = verb->add_subcommand("wait", "Be a participant: run commands when it is called");
    add_wait(*wait, arguments);
    wait->callback(runs([](const QuiesceArguments& a, const Globals&) { return wait_quiesce(a); }));
}

}  // namespace dupengine::cli
