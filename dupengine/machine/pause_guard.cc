#include "machine/pause_guard.h"

#include <sys/time.h>

#include <csignal>

namespace dupengine::machine {
namespace {

void set_timer(std::chrono::milliseconds time) noexcept {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    const auto rest = std::chrono::duration_cast<std::chrono::microseconds>(time - seconds);
    const itimerval timer{{0, 0}, {seconds.count(), rest.count()}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

void change_mask(int how) noexcept {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGALRM);
    ::sigprocmask(how, &signals, nullptr);
}

}  // namespace

PauseGuard::PauseGuard(std::chrono::milliseconds deadline) {
    ::signal(SIGALRM, SIG_DFL);
    change_mask(SIG_UNBLOCK);
    set_timer(deadline);
}

PauseGuard::~PauseGuard() {
    end();
}

void PauseGuard::end() noexcept {
    set_timer(std::chrono::milliseconds(0));
    ::signal(SIGALRM, SIG_IGN);  // one that waits is forgotten
    change_mask(SIG_UNBLOCK);
    ::signal(SIGALRM, SIG_DFL);  // what is started later takes it as any program does
}

void PauseGuard::hold() noexcept {
    change_mask(SIG_BLOCK);
}

void PauseGuard::release() noexcept {
    change_mask(SIG_UNBLOCK);
}

}  // namespace dupengine::machine
