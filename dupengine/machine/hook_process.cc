#include "machine/hook_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/fd.h"

namespace dupengine::machine {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (const std::string& text : texts)
        pointers.push_back(const_cast<char*>(text.c_str()));
    pointers.push_back(nullptr);
    return pointers;
}

// What is different for the child: no input, one pipe for both outputs, a process group of its own, and
// signals as a program expects them.
class SpawnSettings {
  public:
    explicit SpawnSettings(int output) {
        posix_spawn_file_actions_init(&actions_);
        posix_spawnattr_init(&attributes_);
        posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&actions_, output, 1);
        posix_spawn_file_actions_adddup2(&actions_, output, 2);
        posix_spawn_file_actions_addchdir_np(&actions_, "/");
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes_, &none);
        posix_spawnattr_setsigdefault(&attributes_, &all);
        posix_spawnattr_setpgroup(&attributes_, 0);
        posix_spawnattr_setflags(&attributes_,
                                 POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    ~SpawnSettings() {
        posix_spawn_file_actions_destroy(&actions_);
        posix_spawnattr_destroy(&attributes_);
    }
    SpawnSettings(const SpawnSettings&) = delete;
    SpawnSettings& operator=(const SpawnSettings&) = delete;

    int spawn(pid_t& pid, const HookCommand& command) const {
        const auto arguments = pointers_to(command.argv), environment = pointers_to(command.environment);
        return ::posix_spawn(&pid, arguments[0], &actions_, &attributes_, arguments.data(),
                             environment.data());
    }

  private:
    posix_spawn_file_actions_t actions_{};
    posix_spawnattr_t attributes_{};
};

// Ended with its group by the destructor, unless it was collected before.
class Child {
  public:
    explicit Child(pid_t pid) : pid_(pid), descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {
        if (descriptor_.valid()) return;
        const int why = errno;
        ::kill(-pid_, SIGKILL);
        collect();
        throw_errno(Code::kInternal, why, "process {} cannot be watched", pid_);
    }
    ~Child() {
        if (!is_collected_) kill();
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    int descriptor() const { return descriptor_.get(); }

    int collect() {
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        is_collected_ = true;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

    // One that is inside the kernel (a disk that does not answer) dies when it comes back, and is not waited
    // for.
    int kill() {
        ::kill(-pid_, SIGKILL);
        pollfd polled{descriptor_.get(), POLLIN, 0};
        constexpr int kDyingMs = 1000;
        if (::poll(&polled, 1, kDyingMs) > 0) return collect();
        is_collected_ = true;
        return 128 + SIGKILL;
    }

  private:
    pid_t pid_;
    Fd descriptor_;
    bool is_collected_ = false;
};

// What there is to read now, up to the limit; the rest is thrown away, so that the writer does not block. A
// writer that never stops gets a bounded number of turns.
enum class Pipe { kOpen, kEnded };
Pipe drain(int fd, std::string& output) {
    std::array<char, 4096> buffer;
    for (int turn = 0; turn < 16; ++turn) {
        const ssize_t n = ::read(fd, buffer.data(), buffer.size());
        if (n == 0) return Pipe::kEnded;
        if (n < 0) return errno == EAGAIN || errno == EINTR ? Pipe::kOpen : Pipe::kEnded;
        output.append(buffer.data(), std::min(static_cast<std::size_t>(n), kMaxHookOutput - output.size()));
    }
    return Pipe::kOpen;
}

// True when the process ended before `end`.
bool wait_for_end(int process, int output_fd, std::string& output, Clock::time_point end,
                  const std::function<bool()>& is_called_off) {
    constexpr std::int64_t kLookMs = 100;
    std::array<pollfd, 2> polled{{{process, POLLIN, 0}, {output_fd, POLLIN, 0}}};
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
        if (left.count() <= 0 || is_called_off()) return false;
        const int wait_ms = static_cast<int>(std::min<std::int64_t>(left.count(), kLookMs));
        if (::poll(polled.data(), polled.size(), wait_ms) < 0 && errno != EINTR)
            throw_errno(Code::kInternal, errno, "poll failed");
        if (polled[1].revents != 0 && drain(output_fd, output) == Pipe::kEnded) polled[1].fd = -1;
        if (polled[0].revents != 0) return true;
    }
}

}  // namespace

HookEnd run_hook(const HookCommand& command) {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) throw_errno(Code::kInternal, errno, "no pipe");
    const Fd read_end(fds[0]);
    Fd write_end(fds[1]);
    // Only our end does not block.
    if (::fcntl(write_end.get(), F_SETFL, 0) != 0) throw_errno(Code::kInternal, errno, "no pipe");
    const auto end = Clock::now() + command.deadline;
    HookEnd result;
    pid_t pid = -1;
    if (const int failed = SpawnSettings(write_end.get()).spawn(pid, command); failed != 0) {
        result.status = 127;
        result.output = Error(Code::kInternal, "it cannot be started", failed).what();
        return result;
    }
    Child child(pid);
    write_end = Fd();
    result.is_late =
        !wait_for_end(child.descriptor(), read_end.get(), result.output, end, command.is_called_off);
    result.status = result.is_late ? child.kill() : child.collect();
    drain(read_end.get(), result.output);
    return result;
}

}  // namespace dupengine::machine
