#pragma once
// The seam between what two machines say to each other and what carries it: a stream of bytes in both
// directions. Implementations: TCP (tcp.h), a TLS channel over any other (channel.h), a pair in memory
// (tests/support/memory_transport.h). It promises to give up at a deadline and to hold bounded memory. It
// never interprets a byte.
//
// Threads: one thread may send while another receives. Two that send, or two that receive, must take turns.
// close() may come from any thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace dupengine::wire {

/// When to give up, by the clock that nobody sets.
using Deadline = std::chrono::steady_clock::time_point;
inline Deadline after(std::chrono::milliseconds time) {
    return std::chrono::steady_clock::now() + time;
}

class Transport {
  public:
    virtual ~Transport() = default;

    /// Hands on all of `bytes`, and returns when they can be overwritten; that does not mean that the other
    /// side has them. Throws kPeer at the deadline, if the connection broke or was closed. What part of
    /// `bytes` went out is unknown then: the stream is of no use any more.
    virtual void send(std::span<const std::byte> bytes, Deadline deadline) = 0;

    /// Waits for at least one byte and returns how many there are in `buffer`, which is not empty; 0 if the
    /// other side has ended the stream in order. Throws as send().
    virtual std::size_t receive(std::span<std::byte> buffer, Deadline deadline) = 0;

    /// Ends both directions at once. Calls of other threads that wait throw kPeer; so do later ones.
    virtual void close() noexcept = 0;

    /// The other side, for messages: "192.0.2.7:7433".
    virtual const std::string& name() const = 0;
};

/// Fills all of `buffer`. Throws kPeer if the stream ends before, and as receive().
void receive_exact(Transport& transport, std::span<std::byte> buffer, Deadline deadline);

}  // namespace dupengine::wire
