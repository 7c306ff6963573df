#pragma once
// Holds several workers to one rate together. Safe from any thread.

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>

namespace dupengine::engine {

class Throttle {
  public:
    /// 0: lets everything pass.
    explicit Throttle(std::uint64_t bytes_per_second) : rate_(bytes_per_second) {}
    /// Returns when `bytes` may go, or soon after `given_up` says true. What was not used of the rate is not
    /// saved up.
    void pass(std::uint64_t bytes, const std::function<bool()>& given_up);

  private:
    std::uint64_t rate_;
    std::mutex mutex_;
    std::chrono::steady_clock::time_point free_{};  // when what has passed will be paid
};

}  // namespace dupengine::engine
