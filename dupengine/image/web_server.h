#pragma once
// What is asked of one web server, until it is there: what may pass is tried again with growing pauses, and
// every answer is held against what the server said of that file before. Any thread, each with a client of
// its own.

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <stop_token>

#include "image/web_client.h"

namespace dupengine::image {

class WebServer {
  public:
    /// Throws kUsage for what is no address.
    WebServer(const std::string& address, const WebOptions& options) : folder_(address), options_(options) {}

    const std::string& name() const { return folder_.shown(); }
    const WebOptions& options() const { return options_; }
    /// The size of a file, asked for once; empty if there is none. Throws kPeer, kAuthenticity, kInterrupted.
    std::optional<std::uint64_t> look(WebClient& client, const std::string& file);
    /// Throws as look(), and kIntegrity past the end of the file or if there is none.
    void read(WebClient& client, const std::string& file, ByteOffset offset, std::span<std::byte> buffer);

    /// Puts a document there. Throws as look(), and kPeer if there is no place for it.
    void put(WebClient& client, const std::string& file, const std::string& json);

    /// Ends pauses and transfers with kInterrupted.
    void end() { is_ending_ = true; }
    void set_stop(std::stop_token stop);
    bool is_stopped() const;

  private:
    template <typename Ask>
    WebReply try_until_answered(const WebAddress& file, const Ask& ask);
    void pause(const WebAddress& file, const WebReply& reply, unsigned tries,
               std::chrono::steady_clock::time_point begin) const;
    void hold_against_what_was_seen(const std::string& file, const FileState& state);
    std::optional<std::uint64_t> known_size(const std::string& file) const;

    WebAddress folder_;
    WebOptions options_;
    std::atomic<bool> was_answered_{false}, is_ending_{false};
    mutable std::mutex mutex_;  // of all that follows
    std::map<std::string, FileState> seen_;
    std::size_t seen_bytes_ = 0;
    std::stop_token stop_;
};

}  // namespace dupengine::image
