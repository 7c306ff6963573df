#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "base/child_program.h"
#include "base/error.h"
#include "base/fd.h"

extern char** environ;

namespace dupengine {
namespace {

constexpr std::size_t kOutputLimit = 32u << 20;

std::string find_program(const std::string& name) {
    if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : std::string();
    const char* path = std::getenv("PATH");
    std::string folders = fmt::format("{}:/usr/sbin:/sbin:/usr/bin:/bin", path != nullptr ? path : "");
    for (std::size_t begin = 0; begin <= folders.size();) {
        std::size_t end = std::min(folders.find(':', begin), folders.size());
        const std::string candidate = folders.substr(begin, end - begin) + "/" + name;
        if (end > begin && ::access(candidate.c_str(), X_OK) == 0) return candidate;
        begin = end + 1;
    }
    return {};
}

struct Pipe {
    Fd read_end, write_end;
    Pipe() {
        int fds[2];
        if (::pipe2(fds, O_CLOEXEC) != 0) throw_errno(Code::kInternal, errno, "no pipe");
        read_end = Fd(fds[0]);
        write_end = Fd(fds[1]);
    }
};

// The child's output pipes as they stand; true while at least one is open.
struct Outputs {
    struct Stream {
        Fd* fd;
        std::string* text;
    };
    std::array<Stream, 2> streams;

    void take(Stream& stream) {
        char buffer[16384];
        const ssize_t n = ::read(stream.fd->get(), buffer, sizeof buffer);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
        if (n <= 0) {
            *stream.fd = Fd();
            return;
        }
        const std::size_t room = kOutputLimit - std::min(kOutputLimit, stream.text->size());
        stream.text->append(buffer, std::min(room, static_cast<std::size_t>(n)));
    }
};

enum class Ending { kByItself, kTooLate, kStopped };

using Deadline = std::chrono::steady_clock::time_point;

// Feeds the input and drains both outputs until the child closes them, or has to be ended.
Ending converse(Fd& input, const std::string& text, Outputs outputs, Deadline deadline,
                const std::stop_token& stop) {
    constexpr long kLookAgainMs = 200;  // at whether to stop
    std::size_t sent = 0;
    if (text.empty()) input = Fd();
    while (outputs.streams[0].fd->valid() || outputs.streams[1].fd->valid()) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (stop.stop_requested()) return Ending::kStopped;
        if (left.count() <= 0) return Ending::kTooLate;
        std::array<pollfd, 3> polled{{{outputs.streams[0].fd->get(), POLLIN, 0},
                                      {outputs.streams[1].fd->get(), POLLIN, 0},
                                      {input.get(), POLLOUT, 0}}};
        if (::poll(polled.data(), polled.size(),
                   static_cast<int>(std::min<long>(left.count(), kLookAgainMs))) < 0 &&
            errno != EINTR)
            throw_errno(Code::kInternal, errno, "poll failed");
        for (std::size_t i = 0; i < 2; ++i)
            if (polled[i].revents != 0) outputs.take(outputs.streams[i]);
        if (polled[2].revents != 0) {
            const ssize_t n = ::write(input.get(), text.data() + sent, text.size() - sent);
            if (n > 0) sent += static_cast<std::size_t>(n);
            if (sent == text.size() || (n < 0 && errno != EINTR && errno != EAGAIN)) input = Fd();
        }
    }
    return Ending::kByItself;
}

// A child can close its outputs and live on. Where it is at its end, as nearly all are, this costs one short
// pause.
Ending wait_for_end(pid_t pid, int& status, Deadline deadline, const std::stop_token& stop) {
    using std::chrono::microseconds;
    constexpr microseconds kShortest{200}, kLongest{50'000};
    for (microseconds pause = kShortest;; pause = std::min(2 * pause, kLongest)) {
        const pid_t ended = ::waitpid(pid, &status, WNOHANG);
        if (ended == pid) return Ending::kByItself;
        if (ended < 0 && errno != EINTR) throw_errno(Code::kInternal, errno, "a child cannot be waited for");
        if (stop.stop_requested()) return Ending::kStopped;
        if (std::chrono::steady_clock::now() >= deadline) return Ending::kTooLate;
        std::this_thread::sleep_for(pause);
    }
}

void kill_group(pid_t pid) {
    ::kill(-pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

// A child that doesn't read its input must not kill us: SIGPIPE is held off in this thread, and taken away if
// it came.
class WithoutSigpipe {
  public:
    WithoutSigpipe() {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    ~WithoutSigpipe() {
        const timespec now{};
        if (sigismember(&before_, SIGPIPE) == 0) ::sigtimedwait(&pipe_, nullptr, &now);
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    WithoutSigpipe(const WithoutSigpipe&) = delete;
    WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

  private:
    sigset_t pipe_{}, before_{};
};

pid_t spawn(const std::string& program, const std::vector<std::string>& argv, const RunOptions& options,
            int in, int out, int err) {
    std::vector<char*> arguments;
    for (const std::string& a : argv)
        arguments.push_back(const_cast<char*>(a.c_str()));
    arguments.push_back(nullptr);
    std::vector<std::string> texts;
    // Of a name that is there twice, a program sees the first one.
    const auto add = [&](const std::string& text) {
        const std::string name = text.substr(0, text.find('=') + 1);
        for (const std::string& known : texts)
            if (known.rfind(name, 0) == 0) return;
        texts.push_back(text);
    };
    for (const std::string& text : options.extra_environment)
        add(text);
    add("LC_ALL=C");
    for (char** e = environ; *e != nullptr; ++e)
        add(*e);
    std::vector<char*> environment;
    for (std::string& t : texts)
        environment.push_back(t.data());
    environment.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE})
        sigaddset(&defaults, s);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);  // a group of its own: ^C reaches us, and we decide
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = -1;
    const int failed =
        ::posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed != 0) throw_errno(Code::kInternal, failed, "{} cannot be started", program);
    return pid;
}

struct Command {
    std::string program;
    std::vector<std::string> argv;
};

// Killed with us: a resize2fs that goes on alone would write to a disk that the next run takes up.
// setpriv(1) asks the kernel for that between fork and exec, where posix_spawn has no hook.
Command find_command(const std::vector<std::string>& argv) {
    Command command{find_program(argv.at(0)), argv};
    if (command.program.empty())
        throw_error(Code::kUnsupported, "the program {} is not on this machine; install its package",
                    argv[0]);
    if (std::string setpriv = find_program("setpriv"); !setpriv.empty()) {
        command.argv[0] = command.program;
        command.argv.insert(command.argv.begin(), {setpriv, "--pdeathsig", "KILL", "--"});
        command.program = std::move(setpriv);
    }
    return command;
}

std::string one_line(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.pop_back();
    std::replace(text.begin(), text.end(), '\n', ' ');
    if (text.size() > 300) text.resize(300);
    return text;
}

}  // namespace

std::string RunResult::complaint() const {
    std::string text = one_line(err.empty() ? out : err);
    return text.empty() ? fmt::format("exit status {}", status) : text;
}

bool program_exists(const std::string& name) {
    return !find_program(name).empty();
}

RunResult run_program(const std::vector<std::string>& argv, const RunOptions& options) {
    const Command command = find_command(argv);
    Pipe in, out, err;
    ::fcntl(in.write_end.get(), F_SETFL, O_NONBLOCK);
    const pid_t pid = spawn(command.program, command.argv, options, in.read_end.get(), out.write_end.get(),
                            err.write_end.get());
    in.read_end = Fd();
    out.write_end = Fd();
    err.write_end = Fd();
    RunResult result;
    const WithoutSigpipe held_off;
    const Deadline deadline = std::chrono::steady_clock::now() + options.deadline;
    int status = 0;
    Ending ending = converse(in.write_end, options.input,
                             Outputs{{{{&out.read_end, &result.out}, {&err.read_end, &result.err}}}},
                             deadline, options.stop);
    if (ending == Ending::kByItself) ending = wait_for_end(pid, status, deadline, options.stop);
    if (ending != Ending::kByItself) kill_group(pid);
    if (ending == Ending::kStopped) throw_error(Code::kInterrupted, "{} was stopped on request", argv[0]);
    if (ending == Ending::kTooLate)
        throw_error(Code::kInternal, "{} did not finish in {} s and was stopped", argv[0],
                    options.deadline.count() / 1000);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

ChildProgram::ChildProgram(const std::vector<std::string>& argv) {
    const Command command = find_command(argv);
    Pipe out;
    const Fd in = open_path("/dev/null", O_RDONLY, Code::kInternal);
    ::fcntl(out.read_end.get(), F_SETFL, O_NONBLOCK);
    // What it says when the pipe is full is lost: waiting for somebody to read it would stop its work.
    ::fcntl(out.write_end.get(), F_SETFL, O_NONBLOCK);
    pid_ = spawn(command.program, command.argv, {}, in.get(), out.write_end.get(), out.write_end.get());
    output_ = std::move(out.read_end);
}

ChildProgram::~ChildProgram() {
    if (pid_ >= 0) kill_group(pid_);
}

bool ChildProgram::has_ended() {
    if (pid_ >= 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ < 0;
}

std::string ChildProgram::complaint() const {
    std::array<char, 4096> text{};
    const ssize_t n = ::read(output_.get(), text.data(), text.size());
    return one_line({text.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))});
}

}  // namespace dupengine
