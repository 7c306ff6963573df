#pragma once
// A network in memory between a machine that calls and one that waits to be called. Its connections are cut
// where the test says, below TLS: at one of the sends of either end, of which each message is one (a large
// one several). call() and accept() may come from different threads.

#include <condition_variable>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "tests/support/memory_transport.h"
#include "wire/message.h"

namespace dupengine::test {

struct Cut {
    enum class Where {
        kBefore,  ///< nothing of what is sent arrives
        kInside,  ///< a part of it arrives
        kAfter,   ///< all of it arrives, and who sent it is told that it did not
        kLost     ///< nothing arrives, and who sent it is told that all is well
    };
    bool of_caller = true;  ///< at whose sends
    std::size_t send = 0;   ///< at which of them, from 0
    Where where = Where::kBefore;
    std::size_t part = 500;  ///< kInside: thousandths of it arrive
    /// Counts only messages of this type: where they are not encrypted.
    std::optional<wire::Type> only = {};
    /// Counts only what is sent while it says so.
    std::function<bool()> counts = {};
    std::string text() const;
};

class CutNetwork {
  public:
    /// Of the connections to come, one after the other; those behind the last are sound.
    explicit CutNetwork(std::vector<Cut> cuts = {}) : cuts_(std::move(cuts)) {}

    std::unique_ptr<wire::Transport> call();
    /// The other end of the next call. Null at the deadline, or after hang_up().
    std::unique_ptr<wire::Transport> accept(wire::Deadline deadline);
    /// Nobody waits any more.
    void hang_up();

    /// How many of the cuts have been done: a connection may end before its own.
    std::size_t cuts_done() const;
    /// The most sends that an end had in one connection.
    std::size_t most_sends(bool of_caller) const;

  private:
    class End;
    mutable std::mutex mutex_;
    std::condition_variable called_;
    const std::vector<Cut> cuts_;
    std::size_t connections_ = 0, cuts_done_ = 0;
    std::size_t most_sends_[2] = {0, 0};
    std::deque<std::unique_ptr<wire::Transport>> waiting_;
    bool is_over_ = false;
};

}  // namespace dupengine::test
