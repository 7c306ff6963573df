// dupengine quiesce run: brings all participants to rest around a command. See dupengine-quiesce(8).

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/quiesce.h"
#include "cli/text.h"

extern char** environ;

namespace dupengine::cli {
namespace {

using machine::Outcome;
using nlohmann::ordered_json;
using std::chrono::milliseconds;

const char* outcome_name(Outcome outcome) {
    switch (outcome) {
        case Outcome::kDone:
            return "done";
        case Outcome::kFailed:
            return "failed";
        case Outcome::kLate:
            return "late";
        case Outcome::kDied:
            return "died";
        case Outcome::kGone:
            return "gone";
    }
    return "unknown";
}

// How the calls went, for a person. Told when all go on again: whoever takes our output may be at rest.
class CallLog {
  public:
    ~CallLog() {
        try {
            for (const machine::CallReport& report : reports_)
                print(report);
        } catch (const std::exception&) {
            return;  // nobody takes our output
        }
    }
    CallLog() = default;
    CallLog(const CallLog&) = delete;
    CallLog& operator=(const CallLog&) = delete;

    void add(const machine::CallReport& report) { reports_.push_back(report); }
    const std::vector<machine::CallReport>& reports() const { return reports_; }

  private:
    static void print(const machine::CallReport& report);
    std::vector<machine::CallReport> reports_;
};

void CallLog::print(const machine::CallReport& report) {
    fmt::print(stderr, "{:<24} {:<13} {} ({} ms)\n{}", report.name, machine::phase_name(report.phase),
               outcome_name(report.answer.outcome), report.took.count(), shown_output(report.answer.text));
}

ordered_json to_json(const machine::CallReport& report) {
    return {{"name", report.name},
            {"where", printable(report.where, Charset::kUtf8)},
            {"phase", machine::phase_name(report.phase)},
            {"outcome", outcome_name(report.answer.outcome)},
            {"text", report.answer.text},
            {"milliseconds", report.took.count()}};
}

std::string host_name() {
    char name[256] = "";
    if (::gethostname(name, sizeof name - 1) != 0) throw_errno(Code::kInternal, errno, "no host name");
    return name;
}

milliseconds to_milliseconds(double seconds) {
    return milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// With our terminal, in our process group: ^C reaches it, too.
int run_command_line(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const std::string& word : command)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = -1;
    const int failed = ::posix_spawnp(&pid, arguments[0], nullptr, &attributes, arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    if (failed != 0) throw_errno(Code::kUsage, failed, "{} cannot be run", command[0]);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The command's status; participants are told how it ended.
int run_between(machine::Quiesce& quiesce, const std::vector<std::string>& command) {
    const int status =
        command.empty() ? 0 : run_command_line(command);  // if it throws, all are told to abort
    const std::size_t wrong = status == 0 ? quiesce.resume_source() : quiesce.abort();
    if (status == 0 && wrong > 0)
        throw_error(Code::kPeer, "{} of the participants did not go on as they should; look at them", wrong);
    return status;
}

}  // namespace

int run_quiesce(const QuiesceArguments& arguments, const Globals& globals) {
    auto found = machine::find_participants(arguments.hooks, arguments.sockets);
    machine::require_callable(found);
    const InterruptWatch interrupt;
    CallLog log;  // outlives the participants, of which the last may be called when this is left
    machine::QuiesceOptions options;
    options.call_deadline = to_milliseconds(arguments.call_seconds);
    options.overall_deadline = to_milliseconds(arguments.overall_seconds);
    options.is_called_off = [&] { return interrupt.token().stop_requested(); };
    options.on_call = [&](const machine::CallReport& report) { log.add(report); };
    machine::Quiesce quiesce(std::move(found.participants), std::move(options));
    quiesce.prepare({host_name(), arguments.target});
    const int status = run_between(quiesce, arguments.command);
    ordered_json calls = ordered_json::array();
    for (const machine::CallReport& report : log.reports())
        calls.push_back(to_json(report));
    if (globals.json)
        fmt::print("{}\n", ordered_json{{"result", status == 0 ? "done" : "aborted"},
                                        {"command_status", status},
                                        {"calls", calls}}
                               .dump(2, ' ', false, ordered_json::error_handler_t::replace));
    return status;
}

}  // namespace dupengine::cli
