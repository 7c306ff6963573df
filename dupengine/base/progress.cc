#include "base/progress.h"

#include <algorithm>

namespace dupengine {

void Progress::set_part(unsigned part, unsigned parts) {
    const std::lock_guard lock(mutex_);
    next_part_ = part;
    next_parts_ = parts;
}

void Progress::begin(std::string phase, std::uint64_t total_bytes) {
    const std::lock_guard lock(mutex_);
    if (number_ != 0) ended_.push_back(state());
    phase_ = std::move(phase);
    total_ = total_bytes;
    part_ = next_part_;
    parts_ = next_parts_;
    start_ = std::chrono::steady_clock::now();
    done_.store(0, std::memory_order_relaxed);
    ++number_;
}

Progress::State Progress::state() const {
    State now;
    now.phase = phase_;
    now.total_bytes = total_;
    now.done_bytes = done_.load(std::memory_order_relaxed);
    if (total_ != 0) now.done_bytes = std::min(now.done_bytes, total_);
    now.phase_number = number_;
    now.part = part_;
    now.parts = parts_;
    if (number_ != 0)
        now.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return now;
}

Progress::State Progress::look() const {
    const std::lock_guard lock(mutex_);
    return state();
}

std::vector<Progress::State> Progress::ended(std::size_t skip) const {
    const std::lock_guard lock(mutex_);
    if (skip >= ended_.size()) return {};
    return {ended_.begin() + static_cast<std::ptrdiff_t>(skip), ended_.end()};
}

}  // namespace dupengine
