#pragma once
// How far a long piece of work is. Workers add to it without locks; whoever shows it polls look().
// It promises cheap updates and consistent phase names, and never prints.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace dupengine {

class Progress {
  public:
    struct State {
        std::string phase;  ///< "copy", "verify", ...: empty before the first phase
        std::uint64_t done_bytes = 0;
        std::uint64_t total_bytes = 0;  ///< 0: unknown
        double seconds = 0;             ///< since the phase began
        unsigned phase_number = 0;      ///< 1 for the first
        unsigned part = 0, parts = 0;   ///< of the whole work: disk 1 of 2; 0 of 0 if it is one piece
    };

    /// The phases that begin from here on are of this part of the work. From one thread.
    void set_part(unsigned part, unsigned parts);
    /// Starts a phase; the one before it is over. From one thread.
    void begin(std::string phase, std::uint64_t total_bytes);
    /// Adds work done. From any thread.
    void advance(std::uint64_t bytes) { done_.fetch_add(bytes, std::memory_order_relaxed); }
    State look() const;
    /// The phases that are over, oldest first, as they stood at their end: those after the first `skip`.
    /// However short a phase was, it is here.
    std::vector<State> ended(std::size_t skip = 0) const;

  private:
    State state() const;  // with the mutex held
    mutable std::mutex mutex_;
    std::vector<State> ended_;
    std::string phase_;
    std::uint64_t total_ = 0;
    unsigned number_ = 0;
    unsigned part_ = 0, parts_ = 0, next_part_ = 0, next_parts_ = 0;
    std::chrono::steady_clock::time_point start_{};
    std::atomic<std::uint64_t> done_{0};
};

}  // namespace dupengine
