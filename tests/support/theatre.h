#pragma once
// Peers that a test plays: the other end of a connection in memory, message by message, in a thread of its
// own. What an actor throws when we have ended the connection is no matter.

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "tests/support/hostile_stage.h"
#include "wire/link.h"
#include "wire/offer.h"

namespace dupengine::test {

using namespace std::chrono_literals;

inline constexpr wire::Patience kShort{.silence = 400ms,
                                       .message = 800ms,
                                       .beat = 100ms,
                                       .farewell = 300ms,
                                       .outage = 2s,
                                       .answer = 700ms,
                                       .prepare = 5s,
                                       .idle = 700ms,
                                       .pause = 1ms,
                                       .fruitless = 5};

/// 8 MiB, with a token that is not checked by who plays.
wire::Opened a_disk(std::byte token = std::byte{1});

class Actor {
  public:
    explicit Actor(std::unique_ptr<wire::Transport> end, const wire::Patience& patience = kShort)
        : connection_({std::move(end), {}, "asker"}, patience) {}

    // As the source's end.
    void open_as_source(const wire::Opened& disk);
    void answer(const wire::Message& question, wire::Type type, Bytes payload) {
        connection_.send({type, question.id, std::move(payload)});
    }
    void plan() { answer(next(), wire::Type::kPrefill, {}); }

    // As the target's end.
    void greet_as_target() { connection_.greet(wire::Role::kAsks, "0"); }
    /// Opens "disk" as this transfer, and what it is told.
    wire::Message open_the_disk(std::byte transfer = std::byte{5}, const wire::Token& resume = {});
    wire::Message ask(wire::Type type, Bytes payload = {});

    wire::Message next() { return connection_.receive(wire::after(10s)); }
    /// Gives up before anything is opened, and stays until that was heard.
    void turn_away(Code code, const std::string& why);
    /// Lives until the connection ends.
    void live() {
        for (;;)
            next();
    }
    wire::Connection& connection() { return connection_; }

  private:
    wire::Connection connection_;
};

using Play = std::function<void(Actor&)>;

/// As many connections as are wanted, at the other end of each of which the next play is played; the last one
/// again and again.
class Theatre {
  public:
    explicit Theatre(Play play) : plays_{std::move(play)} {}
    explicit Theatre(std::vector<Play> plays) : plays_(std::move(plays)) {}

    wire::Peer connect();
    /// For a link to it.
    wire::LinkOptions options(bool again = false);

    std::atomic<unsigned> connections{0};

  private:
    const std::vector<Play> plays_;
    std::vector<std::jthread> actors_;
};

}  // namespace dupengine::test
