#pragma once
// The machine that `receive` waits for: the first enrolled one that calls. While it is served, another one
// hears that we are busy; itself it may call again, which is how it replaces a connection that broke, or adds
// one.
//
// Threads: any.

#include <deque>
#include <optional>
#include <thread>

#include "wire/reception.h"

namespace dupengine::wire {

class Callers {
  public:
    /// Takes calls from now on, of machines called `names` only, if there are any. `log` hears of those that
    /// came to nothing while nobody is served, from other threads, one at a time. `listener` outlives it. A
    /// call of the machine that is served is `kept` for the moment in which the connection before is found to
    /// be broken; shorter than the other side's patience, so that it hears why it was not taken.
    Callers(Listener& listener, const std::string& peers_folder, const std::vector<std::string>& names,
            std::function<void(const std::string&)> log,
            std::chrono::milliseconds kept = std::chrono::seconds(10));
    ~Callers();
    Callers(const Callers&) = delete;
    Callers& operator=(const Callers&) = delete;

    /// The next call, of the machine that is served if there is one; from then on it is. Throws kPeer at the
    /// deadline, kInterrupted if it was stopped.
    std::unique_ptr<Channel> next(Deadline deadline, const std::stop_token& stop);
    /// It came to nothing: any machine may call.
    void release();

  private:
    using Waiting = std::pair<std::uint64_t, std::unique_ptr<Channel>>;  // with the number of its call
    static constexpr std::size_t kMostWaiting = 8;

    void take(std::unique_ptr<Channel> channel);

    const std::chrono::milliseconds kept_;
    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::optional<PeerIdentity> served_;  // or about to be: it waits for next()
    bool was_handed_on_ = false;
    std::deque<Waiting> waiting_;
    std::uint64_t calls_ = 0;  // of the machine that is served
    bool is_over_ = false;
    Reception reception_;
    std::jthread thread_;  // last: it uses the rest
};

}  // namespace dupengine::wire
