#pragma once
// Those who asked to be prepared before this machine is duplicated, around the pause of one clone.

#include <atomic>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "machine/quiesce.h"

namespace dupengine::cli {

/// That somebody asked to stop, as also a process sees it that was forked before.
class CalledOff {
  public:
    explicit CalledOff(const std::stop_token& stop);
    bool is() const { return *flag_; }

  private:
    struct Unmap {
        void operator()(std::atomic<bool>* flag) const;
    };
    struct Set {
        std::atomic<bool>* flag;
        void operator()() const noexcept { *flag = true; }
    };
    std::unique_ptr<std::atomic<bool>, Unmap> flag_;  // in memory that is shared
    std::stop_callback<Set> on_stop_;
};

class Participants {
  public:
    /// Finds them; calls nobody. Throws kRefused if one cannot be called.
    Participants(std::string target, const std::stop_token& stop);
    /// Throws kRefused for a veto.
    void prepare();
    /// On the source. Never throws: what goes wrong is a note.
    void resume(bool is_done) noexcept;
    /// On the source, when the process that had prepared them died. Never throws.
    void abort_all() noexcept;
    /// On the duplicate, which is called `node` now. Never throws.
    void resume_as(const std::string& node) noexcept;

    std::size_t count() const { return count_; }
    /// Since it was asked last.
    std::vector<std::string> take_notes() { return std::exchange(notes_, {}); }

  private:
    std::string target_;
    CalledOff called_off_;
    std::size_t count_ = 0;
    std::vector<std::string> notes_;
    std::unique_ptr<machine::Quiesce> quiesce_;
};

}  // namespace dupengine::cli
