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
    watcher_ = std::jthread([this](const std::stop_token& ended) {
        const timespec tenth{0, 100'000'000};
        while (!ended.stop_requested())
            if (::sigtimedwait(&signals_, nullptr, &tenth) > 0) stop_.request_stop();
    });
}

InterruptWatch::~InterruptWatch() {
    watcher_ = {};  // joins
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace dupengine::cli
