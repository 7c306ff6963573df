// dupengine quiesce wait: a shell script as a participant. See dupengine-quiesce(8).

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/quiesce.h"
#include "client/quiesce.h"
#include "machine/hook_process.h"

namespace dupengine::cli {
namespace {

using machine::Phase;

class ShellParticipant {
  public:
    explicit ShellParticipant(const QuiesceArguments& arguments) : arguments_(arguments) {
        const int failed =
            dupengine_quiesce_open(&handle_, arguments.name.c_str(), arguments.sockets.folder.c_str());
        if (failed == EADDRINUSE)
            throw_error(Code::kRefused, "{}: a program that runs has this name", arguments.name);
        if (failed == EINVAL)
            throw_error(Code::kUsage, "{}: a name is two digits, a hyphen, and letters, digits, - or _",
                        arguments.name);
        if (failed != 0)
            throw_errno(Code::kRefused, failed, "{}/{}.sock: nobody can be waited for",
                        arguments.sockets.folder, arguments.name);
    }
    // One that is asked to end while it is prepared must not leave its application at rest.
    ~ShellParticipant() {
        dupengine_quiesce_close(handle_);
        if (is_prepared_) run(Phase::kAbort, {});
    }
    ShellParticipant(const ShellParticipant&) = delete;
    ShellParticipant& operator=(const ShellParticipant&) = delete;

    void serve(const InterruptWatch& interrupt) {
        constexpr int kLookAgainMs = 200;  // at whether to end
        pollfd polled{dupengine_quiesce_fd(handle_), POLLIN, 0};
        while (!interrupt.token().stop_requested()) {
            if (::poll(&polled, 1, kLookAgainMs) < 0 && errno != EINTR)
                throw_errno(Code::kInternal, errno, "poll failed");
            if (const int failed = dupengine_quiesce_dispatch(handle_, on_call, this); failed != 0)
                throw_errno(Code::kInternal, failed, "{}: the socket is of no more use", arguments_.name);
        }
    }

  private:
    static int on_call(void* self, const dupengine_quiesce_call* call, char* why, std::size_t why_size) {
        return static_cast<ShellParticipant*>(self)->take(*call, why, why_size);
    }

    int take(const dupengine_quiesce_call& call, char* why, std::size_t why_size) {
        static constexpr Phase kPhases[] = {Phase::kPrepare, Phase::kResumeSource, Phase::kResumeTarget,
                                            Phase::kAbort};
        const Phase phase = kPhases[call.phase - DUPENGINE_PREPARE];
        // Ours must be stopped before dupengine takes us for late.
        const std::chrono::milliseconds deadline(call.deadline_ms - call.deadline_ms / 10);
        const std::string complaint =
            run(phase, {phase, {call.node, call.target}, call.phase == DUPENGINE_ABORT ? kUsual : deadline});
        std::snprintf(why, why_size, "%s", complaint.c_str());
        is_prepared_ = phase == Phase::kPrepare && complaint.empty();
        return complaint.empty() ? 0 : 1;
    }

    const std::string& command_of(Phase phase) const {
        switch (phase) {
            case Phase::kPrepare:
                return arguments_.prepare;
            case Phase::kResumeSource:
                return arguments_.resume_source;
            case Phase::kResumeTarget:
                return arguments_.resume_target;
            case Phase::kAbort:
                break;
        }
        return arguments_.abort;
    }

    // What went wrong; empty for nothing.
    std::string run(Phase phase, machine::Call call) const noexcept try {
        const std::string& command = command_of(phase);
        if (command.empty()) return {};
        if (call.deadline.count() == 0) call.deadline = kUsual;
        call.phase = phase;
        const machine::HookEnd end =
            machine::run_hook({{"/bin/sh", "-c", command}, machine::hook_environment(call), call.deadline});
        fmt::print(stderr, "{}", shown_output(end.output));
        if ((end.is_late || end.was_killed()) && phase == Phase::kPrepare)
            run(Phase::kAbort, {});  // it stopped half-way
        if (end.is_late) return fmt::format("{} was late and was stopped", machine::phase_name(phase));
        if (end.status == 0) return {};
        return fmt::format("exit status {}: {}", end.status, end.output.substr(0, end.output.find('\n')));
    } catch (...) {
        if (phase == Phase::kPrepare) run(Phase::kAbort, {});  // it may have begun
        return "it could not be run";
    }

    static constexpr std::chrono::milliseconds kUsual{5'000};
    const QuiesceArguments& arguments_;
    dupengine_quiesce* handle_ = nullptr;
    bool is_prepared_ = false;
};

}  // namespace

int wait_quiesce(const QuiesceArguments& arguments) {
    const InterruptWatch interrupt;
    ShellParticipant participant(arguments);
    fmt::print("{}: waiting\n", arguments.name);
    std::fflush(stdout);
    participant.serve(interrupt);
    return 0;
}

}  // namespace dupengine::cli
