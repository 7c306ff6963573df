#include "cli/command.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "cli/help_format.h"
#include "cli/text.h"
#include "cli/version.h"

namespace dupengine::cli {
namespace {

constexpr int kUsageStatus = static_cast<int>(Code::kUsage);

void print_json_error(Code code, const std::string& message) {
    const nlohmann::ordered_json report = {
        {"result", "error"},
        {"error",
         {{"code", code_name(code)}, {"exit_status", static_cast<int>(code)}, {"message", message}}}};
    fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void print_error(const Globals& globals, Code code, const std::string& message) {
    // Disks, files and peers have a say in it.
    fmt::print(stderr, "dupengine: {}\n", printable(message, Charset::kUtf8));
    if (globals.json) print_json_error(code, message);
}

// A line that was not understood has set nothing yet; its writer still waits for a document.
bool asks_for_json(int argc, const char* const* argv) {
    return std::any_of(argv + std::min(argc, 1), argv + argc,
                       [](const char* word) { return std::string_view(word) == "--json"; });
}

int run_action(const Globals& globals, const Action& action) {
    try {
        const int status = action();
        // A report that did not arrive was not given.
        if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
            throw_errno(Code::kInternal, errno, "standard output cannot be written");
        return status;
    } catch (const Error& e) {
        print_error(globals, e.code(), e.what());
        return static_cast<int>(e.code());
    } catch (const std::bad_alloc&) {
        print_error(globals, Code::kInternal, "out of memory");
    } catch (const std::exception& e) {
        print_error(globals, Code::kInternal, fmt::format("unexpected: {}", e.what()));
    }
    return static_cast<int>(Code::kInternal);
}

// A caller may start us with 0, 1 or 2 closed. The next file opened would take that number, and what is meant
// for the terminal would be written onto a disk. As glibc does for set-user-ID programs, the number is taken
// by something that refuses what the stream is for: a report that cannot be given is still an error.
bool take_standard_descriptors() {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest free number is given: those below are taken by now.
        if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return false;
    }
    return true;
}

}  // namespace

void add_json_option(CLI::App& verb, Globals& globals) {
    verb.add_flag("--json", globals.json, "Print one JSON document on standard output");
}

void add_progress_option(CLI::App& verb, Globals& globals) {
    static const std::map<std::string, ProgressStyle> kStyles = {{"auto", ProgressStyle::kAuto},
                                                                 {"bar", ProgressStyle::kBar},
                                                                 {"json", ProgressStyle::kJson},
                                                                 {"none", ProgressStyle::kNone}};
    verb.add_option("--progress", globals.progress,
                    "How to show progress on standard error: auto, bar, json, none")
        ->transform(one_of(kStyles))
        ->option_text("STYLE");
}

void add_plan_options(CLI::App& verb, Globals& globals) {
    verb.add_flag("--dry-run", globals.dry_run, "Draw the plan and stop: nothing is written");
    verb.add_flag("-y,--yes", globals.yes, "Do not ask before writing");
}

int run_command(int argc, const char* const* argv) {
    if (!take_standard_descriptors()) return static_cast<int>(Code::kInternal);
    std::signal(SIGPIPE, SIG_IGN);
    CLI::App app{"Duplicate a machine onto another, which keeps its own profile", "dupengine"};
    app.formatter(std::make_shared<HelpFormat>());
    Globals globals;
    Action action;
    app.set_version_flag("--version", std::string("dupengine ") + kVersion);
    app.require_subcommand(1);
    add_inspect(app, globals, action);
    add_copy(app, globals, action);
    add_verify(app, globals, action);
    add_image(app, globals, action);
    add_profile(app, globals, action);
    add_assume(app, globals, action);
    add_enrol(app, globals, action);
    add_receive(app, globals, action);
    add_serve(app, globals, action);
    add_clone(app, globals, action);
    add_boot(app, globals, action);
    add_doctor(app, globals, action);
    add_quiesce(app, globals, action);
    add_media(app, globals, action);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        // --help and --version end in this way, too.
        if (e.get_exit_code() == 0) return app.exit(e);
        fmt::print(stderr, "dupengine: {} (see dupengine --help)\n", e.what());
        if (asks_for_json(argc, argv)) print_json_error(Code::kUsage, e.what());
        return kUsageStatus;
    }
    return run_action(globals, action);
}

}  // namespace dupengine::cli
