#pragma once
// Waits for what another thread or process does, and not for a time in which it should have done it.

#include <chrono>
#include <thread>

namespace dupengine::test {

/// Whether it becomes true. The limit is only reached where something is wrong, so it is for the slowest of
/// machines.
template <typename Condition>
bool becomes(const Condition& condition, std::chrono::milliseconds limit = std::chrono::minutes(2)) {
    constexpr std::chrono::milliseconds kPause{5};
    for (const auto end = std::chrono::steady_clock::now() + limit; !condition();) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(kPause);
    }
    return true;
}

}  // namespace dupengine::test
