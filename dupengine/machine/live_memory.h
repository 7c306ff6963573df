#pragma once
// The memory of this machine as a row of groups that the target asks for, one after the other: passes over it
// until another would gain nothing, and, when all was at rest for a moment, what of that moment was not known
// yet. Groups are numbered from 0; the one that was given last is given again.
//
// Threads: group() from any, one at a time asks the live process; the others from the one that makes rounds.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>

#include "machine/live_process.h"

namespace dupengine::machine {

struct MemoryGroup {
    enum class Kind { kGroup, kNotYet, kEnd };
    Kind kind = Kind::kNotYet;
    Bytes bytes;  ///< of kGroup: codec/page_difference.h
};

struct LiveReport {
    std::vector<PassReport> passes;
    std::vector<PauseReport> pauses;  ///< the last is the one that counts
    ImageReport image;
};

class LiveMemory {
  public:
    LiveMemory(LiveProcess& process, std::chrono::milliseconds max_pause);

    /// kNotYet: the same number is to be asked for again, later. Throws kPeer for a number that is not next;
    /// what the process throws.
    MemoryGroup group(std::uint32_t number);

    /// Waits until the target has as much as passes can give, but no longer than `patience`: false then.
    /// Throws kRefused if the pause is expected to be too long all the same; kInterrupted if it was stopped.
    bool wait_until_ready(std::chrono::milliseconds patience, const std::stop_token& stop);
    /// Brings all to rest for a moment. Throws as LiveProcess.
    AtRest black_out();
    LiveReport report() const;
    /// The target has asked for all there is: it may become this machine, whatever becomes of the connection.
    bool is_all_given() const;

  private:
    enum class State { kPasses, kReady, kImage, kEnd };
    Bytes next_bytes();
    void end_pass();
    double expected_pause() const;

    LiveProcess& process_;
    std::chrono::milliseconds max_pause_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    State state_ = State::kPasses;
    bool is_in_pass_ = false, is_moment_ = false;
    unsigned passes_since_pause_ = 0;
    std::uint32_t next_number_ = 0;
    Bytes last_;  // of the number before
    std::exception_ptr failure_;
    LiveReport report_;
};

}  // namespace dupengine::machine
