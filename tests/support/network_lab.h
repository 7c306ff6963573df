#pragma once
// A machine's worth of network for one test: a process with network, mount and process namespaces of its own,
// which end with it, and a wire to a place outside that only the test knows. Needs root.

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "machine/network_namespaces.h"

namespace dupengine::test {

/// Runs it in a child process that sees no network, process or mount of this machine, with /run empty; what
/// fails or is thrown there fails the test here. Nothing of it is left behind, however it ends.
void in_own_network(const std::function<void()>& body);

/// Outside of the machine: a network namespace that nothing but this object keeps, so that nobody finds it;
/// its device wire0 (10.7.0.2/24, fd07::2/64) is the other end of out0 (10.7.0.1/24, fd07::1/64).
class Outside {
  public:
    Outside();
    const machine::NetworkNamespace& place() const { return place_; }
    /// `ip` there.
    std::string ip(const std::vector<std::string>& arguments) const;

  private:
    machine::NetworkNamespace place_;
};

/// `ip` in the machine.
std::string ip(const std::vector<std::string>& arguments);

/// All frames that come in by wire0: those that left the machine.
class FrameWatch {
  public:
    explicit FrameWatch(const Outside& outside);
    /// Those since it was asked last, each from its Ethernet header on.
    std::vector<Bytes> take();
    /// The senders' addresses of those, each once: "52:54:00:12:34:56".
    std::vector<std::string> take_senders();

  private:
    Fd socket_;
};

/// A TCP socket that listens at wire0, or inside the machine.
Fd listen_at(const std::string& address, std::uint16_t port);
/// Connects, from wherever the calling thread is; throws if that takes longer than 5 s. An IPv6 socket if the
/// address has a colon ("::ffff:10.7.0.2" too).
Fd connect_to(const std::string& address, std::uint16_t port);
/// As above, without waiting for it.
Fd start_connecting(const std::string& address, std::uint16_t port);
Fd accept_from(const Fd& listener);
/// A datagram to somebody. What sending says is of no interest.
void send_datagram(const std::string& address, std::uint16_t port);

}  // namespace dupengine::test
