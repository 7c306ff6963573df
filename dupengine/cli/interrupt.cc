#include "cli/interrupt.h"

#include <pthread.h>

namespace dupengine::cli {

InterruptWatch::InterruptWatch() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    // A closed terminal is a request to stop, unless somebody said that it is not (nohup(1)).
    struct sigaction hang_up {};
    ::sigaction(SIGHUP, nullptr, &hang_up);
    if (hang_up.sa_handler != SIG_IGN) sigaddset(&signals_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    watcher_ = std::jthread([this](const std::stop_token& ended) { watch(ended); });
}

// Until the destructor wakes it, with a signal that names this object and is no request.
void InterruptWatch::watch(const std::stop_token& ended) {
    siginfo_t signal{};
    while (!ended.stop_requested()) {
        if (::sigwaitinfo(&signals_, &signal) < 0) continue;
        const bool is_ours = signal.si_code == SI_QUEUE && signal.si_value.sival_ptr == this;
        if (!is_ours) stop_.request_stop();
    }
}

InterruptWatch::~InterruptWatch() {
    watcher_.request_stop();
    sigval us{};
    us.sival_ptr = this;
    pthread_sigqueue(watcher_.native_handle(), SIGTERM, us);
    watcher_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace dupengine::cli
