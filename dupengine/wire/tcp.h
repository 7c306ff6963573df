#pragma once
// TCP connections as transports. A peer that is gone without a word is noticed within a minute, also where
// nothing is being sent (keepalive, TCP_USER_TIMEOUT). Buffers are those of the kernel, which bounds them.
// Threads: as transport.h; a Listener is used by one thread.

#include <memory>
#include <stop_token>

#include "base/fd.h"
#include "wire/transport.h"

namespace dupengine::wire {

/// Where `receive` and `serve` listen, and where `enrol invite` does, unless told otherwise. Both are ports
/// that IANA has assigned to nobody.
inline constexpr std::uint16_t kPeerPort = 7433;
inline constexpr std::uint16_t kEnrolPort = 7434;

struct Address {
    std::string host;  ///< a name, an IPv4 or an IPv6 address without brackets; empty: all addresses
    std::uint16_t port = 0;
    /// "host:port", "[2001:db8::1]:port".
    std::string text() const;
};

/// "HOST", "HOST:PORT", "[IPV6]", "[IPV6]:PORT", "IPV6", ":PORT". Throws kUsage for anything else.
Address parse_address(const std::string& text, std::uint16_t default_port);
/// The same for an address to listen on; empty: all addresses, at the default port.
Address parse_listening_address(const std::string& text, std::uint16_t default_port);

/// Tries the addresses of the host one after another. The deadline does not bind the resolver, which has
/// timeouts of its own. Throws kPeer, and kInterrupted if it was stopped.
std::unique_ptr<Transport> connect_tcp(const Address& address, Deadline deadline,
                                       const std::stop_token& stop = {});

class Listener {
  public:
    /// Port 0: any that is free. Throws kRefused if the address is not ours or in use.
    explicit Listener(const Address& address);
    /// What it listens on, with the port that it got.
    const Address& address() const { return address_; }
    /// The next connection; null at the deadline or when it is stopped. What a single connection did wrong
    /// is not an error here. Throws kPeer if the machine can take no connection (descriptors, memory).
    std::unique_ptr<Transport> accept(Deadline deadline, const std::stop_token& stop = {});

  private:
    Address address_;
    Fd fd_;
};

}  // namespace dupengine::wire
