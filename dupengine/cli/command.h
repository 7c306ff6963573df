#pragma once
// The command line as a whole: parses it, runs one verb, prints what went wrong as one line, and turns it
// into the exit status. One file per verb; each has an add_VERB that declares its options and a run function
// above it.

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>

namespace dupengine::cli {

enum class ProgressStyle { kAuto, kBar, kJson, kNone };

/// What every verb is given.
struct Globals {
    bool json = false;  ///< one JSON document on stdout instead of text for people
    bool yes = false;   ///< ask nothing
    bool dry_run = false;
    int verbosity = 0;
    ProgressStyle progress = ProgressStyle::kAuto;
};

/// Sets the work of the chosen verb; called after parsing. Its result is the exit status.
using Action = std::function<int()>;

void add_inspect(CLI::App& app, Globals& globals, Action& action);
void add_copy(CLI::App& app, Globals& globals, Action& action);
void add_image(CLI::App& app, Globals& globals, Action& action);
void add_verify(CLI::App& app, Globals& globals, Action& action);
void add_profile(CLI::App& app, Globals& globals, Action& action);
void add_assume(CLI::App& app, Globals& globals, Action& action);
void add_enrol(CLI::App& app, Globals& globals, Action& action);
void add_receive(CLI::App& app, Globals& globals, Action& action);
void add_serve(CLI::App& app, Globals& globals, Action& action);
void add_clone(CLI::App& app, Globals& globals, Action& action);
void add_boot(CLI::App& app, Globals& globals, Action& action);
void add_doctor(CLI::App& app, Globals& globals, Action& action);
void add_quiesce(CLI::App& app, Globals& globals, Action& action);
void add_media(CLI::App& app, Globals& globals, Action& action);

/// For options that take a word: turns it into the number of its value, and names the words where it is
/// another.
template <typename Value>
CLI::Validator one_of(const std::map<std::string, Value>& words) {
    return {[words](std::string& text) -> std::string {
                std::string known;
                for (const auto& [word, value] : words) {
                    if (word == text) {
                        text = std::to_string(static_cast<int>(value));
                        return "";
                    }
                    known += (known.empty() ? "" : ", ") + word;
                }
                return "'" + text + "' is none of " + known;
            },
            "", "word"};
}

/// For options that take a size: "50M" as the number that it is.
CLI::Validator size_reader();

/// Options that several verbs share: --json, --progress, --dry-run, --yes, -v. Each verb adds those it obeys.
void add_json_option(CLI::App& verb, Globals& globals);
void add_progress_option(CLI::App& verb, Globals& globals);
void add_plan_options(CLI::App& verb, Globals& globals);

/// The whole command. Never throws; returns the exit status (dupengine(8), EXIT STATUS).
int run_command(int argc, const char* const* argv);

}  // namespace dupengine::cli
