#pragma once
// Messages over a transport that has proved who is at its other end. Bounded in time as well as in memory: a
// side that is silent for too long, or that takes for ever over one message, is gone. What is idle is kept
// alive by empty messages, so silence means something.
//
// Threads: any number may send; one receives. close() from any.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "wire/message.h"
#include "wire/transport.h"

namespace dupengine::wire {

/// The other end of a new connection, and who that is.
struct Peer {
    std::unique_ptr<Transport> transport;
    codec::Sha256 key{};  ///< PeerIdentity::key_sha256
    std::string name;     ///< for messages
};

struct Patience {
    std::chrono::milliseconds silence{30'000};     ///< until nothing at all means that the other side is gone
    std::chrono::milliseconds message{60'000};     ///< for one message to come, or to be taken
    std::chrono::milliseconds beat{5'000};         ///< between signs of life
    std::chrono::milliseconds farewell{5'000};     ///< for the last message to be heard
    std::chrono::milliseconds outage{60'000};      ///< for a broken connection to be replaced
    std::chrono::milliseconds answer{300'000};     ///< between answers to questions of which some are open
    std::chrono::milliseconds prepare{3'600'000};  ///< for all that is told before questions
    std::chrono::milliseconds idle{900'000};       ///< between questions, or notes of how far it is
    std::chrono::milliseconds pause{50};           ///< before the first try to replace it; then twice as long
    unsigned fruitless = 5;                        ///< connections in a row over which nothing came
};

/// Memory of long payloads that are of no use any more, for those that come. From any thread.
class SparePayloads {
  public:
    Bytes take(std::size_t bytes);
    void give_back(Bytes payload);

  private:
    std::mutex mutex_;
    std::vector<Bytes> spare_;
};

class Connection {
  public:
    Connection(Peer peer, const Patience& patience,
               std::shared_ptr<SparePayloads> spare = std::make_shared<SparePayloads>());
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Says who we are and hears who they are. Throws kPeer also if both would ask, or both answer.
    Hello greet(Role role, const std::string& version);
    /// Throws what the other side gives up with.
    [[noreturn]] void throw_abort(const Message& abort);

    void send(const Message& message);
    /// Gives up at the deadline, even if others are sending all the time.
    void send_by(const Message& message, Deadline deadline);
    /// Header and payload, as encode() makes them.
    void send_encoded(std::span<const std::byte> message);
    /// The next message that says anything. Throws kPeer, also if there is none before the deadline: who only
    /// says that it lives is gone as well.
    Message receive(Deadline deadline = Deadline::max());
    void close() noexcept;

    /// The transport failed: another connection might do. Otherwise the other side is at fault.
    bool is_lost() const { return is_lost_; }
    /// throw_abort() was called: the error is the other side's word.
    bool has_given_up() const { return has_given_up_; }
    const std::string& name() const { return peer_.name; }
    const codec::Sha256& key() const { return peer_.key; }
    /// Of messages, with their headers.
    std::uint64_t bytes_sent() const { return sent_; }
    std::uint64_t bytes_received() const { return received_; }

  private:
    enum class Fill { kOnce, kAll };
    std::size_t fill(std::span<std::byte> buffer, Deadline deadline, Fill how);
    void keep_alive(const std::stop_token& stop);
    void send_locked(std::span<const std::byte> message, Deadline deadline);

    Peer peer_;
    const Patience patience_;
    std::timed_mutex sending_;
    std::chrono::steady_clock::time_point last_sent_;  // with sending_
    std::atomic<bool> is_lost_{false}, has_given_up_{false};
    std::atomic<std::uint64_t> sent_{0}, received_{0};
    const std::shared_ptr<SparePayloads> spare_;
    std::mutex beat_mutex_;
    std::condition_variable_any beat_;
    std::jthread heart_;
};

}  // namespace dupengine::wire
