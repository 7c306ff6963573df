#pragma once
// Takes connections and hands on those whose other side has proved to be an enrolled machine:
//
//     Listener -> Guests (a thread each) -> first byte -> Credentials, read anew -> TLS handshake ->
//     take(channel)
//
// A stranger costs a thread and half a MiB for a few seconds, and never keeps an enrolled machine waiting.
//
// Threads: run() is called once.

#include "wire/channel.h"
#include "wire/guests.h"
#include "wire/tcp.h"

namespace dupengine::wire {

/// Shorter than the time that who connects has: what is silent is out before it gives up.
inline constexpr std::chrono::milliseconds kHandshake{5'000};

struct ReceptionOptions {
    std::string peers_folder;
    ChannelOptions channel{.handshake = kHandshake};
    GuestLimits limits;
    /// For those that were taken to come to an end, when it is stopped.
    std::chrono::milliseconds farewell{10'000};
    /// In the connection's own thread, for as long as it likes. What it throws is logged.
    std::function<void(std::unique_ptr<Channel>)> take;
    /// From any thread, one at a time.
    std::function<void(const std::string& line)> log;
};

class Reception {
  public:
    explicit Reception(ReceptionOptions options);
    /// Until it is stopped. What one connection does wrong ends that one only.
    void run(Listener& listener, const std::stop_token& stop);

  private:
    void receive(std::unique_ptr<Transport> transport, Guests::Guest& guest);
    void log(const std::string& line);
    void log_stranger(const std::string& line);

    const ReceptionOptions options_;
    std::mutex log_mutex_;
    unsigned strangers_ = 0;  // told of in this minute
    std::chrono::steady_clock::time_point minute_{};
    Guests guests_;  // last: their threads use the rest
};

/// Tells a machine, instead of a greeting, why it is not served, waits for it to go, and closes.
void turn_away(std::unique_ptr<Channel> channel, const Error& why) noexcept;

}  // namespace dupengine::wire
