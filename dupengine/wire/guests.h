#pragma once
// Connections that others made to us, each with a thread of its own until it has come to something. Whoever
// has not proved yet who it is, is a stranger: there are few of them, in all and from one address, and one
// too many pushes out a stranger, one that has said nothing before one that has. Who has proved it is pushed
// out by nobody, but there is a limit, too.
//
// Threads: add() and end() from one; a Guest is its own thread's.

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "wire/transport.h"

namespace dupengine::wire {

struct GuestLimits {
    std::size_t strangers = 64;
    std::size_t strangers_of_an_address = 8;
    std::size_t known = 64;
    std::size_t known_of_one = 16;
};

class Guests {
  public:
    class Guest {
      public:
        /// From here on it is no stranger. Throws kPeer if there are too many that are none.
        virtual void prove(const std::string& who) = 0;

      protected:
        ~Guest() = default;
    };
    /// Called in the guest's thread. What it throws is lost: it tells itself what became of the connection.
    using Serve = std::function<void(std::unique_ptr<Transport> transport, Guest& guest)>;

    explicit Guests(const GuestLimits& limits = {});
    /// As end(), without a farewell.
    ~Guests();
    Guests(const Guests&) = delete;
    Guests& operator=(const Guests&) = delete;

    /// Throws kPeer if there is no thread for it; it is closed then.
    void add(std::unique_ptr<Transport> transport, Serve serve);
    /// Closes strangers at once, and the others when `farewell` is over. Returns when nobody is left.
    void end(std::chrono::milliseconds farewell);

  private:
    struct Line;
    class LineTransport;
    class Visit;
    using Visits = std::list<std::unique_ptr<Visit>>;

    void make_room(const std::string& address);
    void push_out_one(const std::function<bool(const Visit&)>& among);
    std::size_t count(const std::function<bool(const Visit&)>& which) const;
    Visits take_ended();

    const GuestLimits limits_;
    std::mutex mutex_;  // all below, and what of a visit is not its own thread's
    std::condition_variable changed_;
    Visits visits_;  // oldest first
};

}  // namespace dupengine::wire
