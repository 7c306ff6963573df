#pragma once
// Holds several workers to one rate together. Safe from any thread.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <stop_token>

namespace dupengine::engine {

class Throttle {
  public:
    /// 0: lets everything pass.
    explicit Throttle(std::uint64_t bytes_per_second) : rate_(bytes_per_second) {}
    /// Returns when `bytes` may go, or soon after a request to stop. What was not used of the rate is not
    /// saved up.
    void pass(std::uint64_t bytes, const std::stop_token& stop);

  private:
    std::uint64_t rate_;
    std::mutex mutex_;
    std::chrono::steady_clock::time_point free_{};  // when what has passed will be paid
};

}  // namespace dupengine::engine
