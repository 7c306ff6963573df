#include "engine/throttle.h"

#include <algorithm>
#include <thread>

namespace dupengine::engine {

void Throttle::pass(std::uint64_t bytes, const std::function<bool()>& given_up) {
    if (rate_ == 0) return;
    using Clock = std::chrono::steady_clock;
    Clock::time_point turn;
    {
        const std::lock_guard lock(mutex_);
        turn = std::max(free_, Clock::now());
        free_ = turn + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                           static_cast<double>(bytes) / static_cast<double>(rate_)));
    }
    constexpr auto kNap = std::chrono::milliseconds(100);
    while (!given_up()) {
        const auto left = turn - Clock::now();
        if (left <= Clock::duration::zero()) return;
        std::this_thread::sleep_for(std::min<Clock::duration>(left, kNap));
    }
}

}  // namespace dupengine::engine
