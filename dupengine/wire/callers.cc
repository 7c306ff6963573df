#include "wire/callers.h"

#include <algorithm>

#include "base/error.h"

namespace dupengine::wire {
using namespace std::chrono_literals;

Callers::Callers(Listener& listener, const std::string& peers_folder, const std::vector<std::string>& names,
                 std::function<void(const std::string&)> log, std::chrono::milliseconds kept)
    : kept_(kept),
      reception_({.peers_folder = peers_folder,
                  .channel = {.handshake = kHandshake, .expected_names = names},
                  .farewell = 1s,
                  .take = [this](std::unique_ptr<Channel> channel) { take(std::move(channel)); },
                  .log =
                      [this, told = std::move(log)](const std::string& line) {
                          const std::lock_guard lock(mutex_);
                          if (!served_ && told) told(line);
                      }}),
      thread_([this, &listener](const std::stop_token& stop) { reception_.run(listener, stop); }) {}

Callers::~Callers() {
    {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
    }
    changed_.notify_all();
}

void Callers::take(std::unique_ptr<Channel> channel) {
    const PeerIdentity caller = channel->peer();
    std::unique_lock lock(mutex_);
    if (served_ && served_->key_sha256 != caller.key_sha256) {
        const Error busy(Code::kRefused,
                         fmt::format("busy with {}; try again when that is done", served_->name));
        lock.unlock();
        return turn_away(std::move(channel), busy);
    }
    served_ = caller;
    const std::uint64_t call = ++calls_;
    if (waiting_.size() == kMostWaiting) waiting_.pop_front();  // it gave up the oldest
    waiting_.emplace_back(call, std::move(channel));
    changed_.notify_all();
    const auto here = [&] { return std::ranges::find(waiting_, call, &Waiting::first); };
    changed_.wait_for(lock, kept_, [&] { return is_over_ || here() == waiting_.end(); });
    const auto waiting = here();
    if (is_over_ || waiting == waiting_.end()) return;
    std::unique_ptr<Channel> unheard = std::move(waiting->second);
    waiting_.erase(waiting);
    if (!was_handed_on_ && waiting_.empty()) served_.reset();
    lock.unlock();
    turn_away(std::move(unheard),
              Error(Code::kPeer, "busy with this same machine: its connection before this one is in use"));
}

std::unique_ptr<Channel> Callers::next(Deadline deadline, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, stop, deadline, [&] { return !waiting_.empty(); });
    if (!waiting_.empty()) {
        // An older one may be broken, and nobody noticed yet.
        std::unique_ptr<Channel> found = std::move(waiting_.back().second);
        waiting_.pop_back();
        was_handed_on_ = true;
        lock.unlock();
        changed_.notify_all();
        return found;
    }
    if (stop.stop_requested()) throw_error(Code::kInterrupted, "stopped on request while waiting");
    throw_error(Code::kPeer, "nobody connected in time");
}

void Callers::release() {
    const std::lock_guard lock(mutex_);
    served_.reset();
    was_handed_on_ = false;
    waiting_.clear();
    changed_.notify_all();
}

}  // namespace dupengine::wire
