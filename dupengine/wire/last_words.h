#pragma once
// How long the source's end waits for a target that was given everything: the target has to write, verify and
// say what it came to, and tells all the while how far it is. One that says nothing any more, or the same for
// ever, is not waited for as long as one who may still ask (Patience::idle).
//
// Keeps time by what it is told; safe from any thread.

#include <chrono>
#include <mutex>
#include <string>

#include "wire/connection.h"

namespace dupengine::wire {

class LastWords {
  public:
    using Clock = std::chrono::steady_clock;
    explicit LastWords(const Patience& patience) : patience_(patience) {}
    /// Anything but a sign of life.
    void hear(const Message& message, Clock::time_point now);
    /// From here on there is nothing left to give; again: nothing.
    void begin(Clock::time_point now);
    /// Why it is not waited for any longer; empty: it is.
    std::string why_over(Clock::time_point now) const;
    /// Since it said anything; zero until begin().
    std::chrono::milliseconds silence(Clock::time_point now) const;

  private:
    const Patience patience_;
    mutable std::mutex mutex_;
    bool has_begun_ = false;
    Clock::time_point word_, step_;  // when it spoke last, and when it last said something new
    Bytes progress_;
};

}  // namespace dupengine::wire
