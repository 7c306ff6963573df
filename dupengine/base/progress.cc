#include "base/progress.h"

#include <algorithm>

namespace dupengine {

void Progress::begin(std::string phase, std::uint64_t total_bytes) {
    const std::lock_guard lock(mutex_);
    phase_ = std::move(phase);
    total_ = total_bytes;
    start_ = std::chrono::steady_clock::now();
    done_.store(0, std::memory_order_relaxed);
    ++number_;
}

Progress::State Progress::look() const {
    const std::lock_guard lock(mutex_);
    State state;
    state.phase = phase_;
    state.total_bytes = total_;
    state.done_bytes = done_.load(std::memory_order_relaxed);
    if (total_ != 0) state.done_bytes = std::min(state.done_bytes, total_);
    state.phase_number = number_;
    if (number_ != 0)
        state.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return state;
}

}  // namespace dupengine
