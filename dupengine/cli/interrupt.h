#pragma once
// Turns SIGINT and SIGTERM into a request to stop at the next safe point. While one of these lives, the
// signals do nothing else. Construct it before other threads start, so that they inherit the blocked signals.

#include <signal.h>

#include <stop_token>
#include <thread>

namespace dupengine::cli {

class InterruptWatch {
  public:
    InterruptWatch();
    ~InterruptWatch();
    InterruptWatch(const InterruptWatch&) = delete;
    InterruptWatch& operator=(const InterruptWatch&) = delete;

    std::stop_token token() const { return stop_.get_token(); }

  private:
    void watch(const std::stop_token& ended);

    sigset_t signals_{}, before_{};
    std::stop_source stop_;
    std::jthread watcher_;
};

}  // namespace dupengine::cli
