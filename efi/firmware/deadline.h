#pragma once
// How long to wait for a network.

#include "efi/firmware/tables.h"

namespace dupengine::efi {

inline constexpr std::uint64_t kSecond = 10'000'000;  // of timers
inline constexpr std::uint64_t kPatience = 30 * kSecond;

/// A moment that comes by itself.
class Deadline {
  public:
    Deadline(BootServices& boot, std::uint64_t after) : boot_(boot) {
        if (boot_.create_event(kTimerEvent, 0, nullptr, nullptr, &event_) != kSuccess) event_ = nullptr;
        if (event_ != nullptr) boot_.set_timer(event_, TimerDelay::kRelative, after);
    }
    ~Deadline() {
        if (event_ != nullptr) boot_.close_event(event_);
    }
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    /// At once where firmware has no timer.
    bool has_come() {
        if (event_ == nullptr || boot_.check_event(event_) == kSuccess) come_ = true;
        return come_;
    }

  private:
    BootServices& boot_;
    Event event_ = nullptr;
    bool come_ = false;
};

}  // namespace dupengine::efi
