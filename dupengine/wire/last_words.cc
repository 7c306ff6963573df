#include "wire/last_words.h"

namespace dupengine::wire {
namespace {

double seconds(std::chrono::steady_clock::duration time) {
    return std::chrono::duration<double>(time).count();
}

}  // namespace

void LastWords::hear(const Message& message, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    word_ = now;
    if (message.type == Type::kProgress && message.payload == progress_) return;
    step_ = now;
    if (message.type == Type::kProgress) progress_ = message.payload;
}

void LastWords::begin(Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(has_begun_, true)) word_ = step_ = now;
}

std::string LastWords::why_over(Clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    if (!has_begun_) return {};
    if (now - word_ > patience_.word)
        return fmt::format("was given everything, and lives, but has said nothing for {:.3g} s",
                           seconds(patience_.word));
    if (now - step_ > patience_.step)
        return fmt::format("was given everything, and has not got on for {:.3g} s", seconds(patience_.step));
    return {};
}

std::chrono::milliseconds LastWords::silence(Clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    if (!has_begun_) return {};
    return std::chrono::duration_cast<std::chrono::milliseconds>(now - word_);
}

}  // namespace dupengine::wire
