#pragma once
// Connections that a duplicate inherited: their other ends talk to the source, and must never hear of
// this machine. They are destroyed in all network namespaces (sock_diag(7), SOCK_DESTROY), also while their
// owners are frozen; those find ECONNABORTED when they go on.
//
// To each peer the kernel sends a reset, and the peer would take it for the source's. So: only while the gate
// is closed (egress_gate.h) and the links are down (links.h). Kept are listeners, and connections between
// addresses that this machine has at that moment: so after the source's addresses are gone. Connections in
// TIME_WAIT send nothing by themselves, and are left to their minute. What the kernel tracks of connections
// (conntrack) is forgotten as a whole, because translated addresses of the source are in it; a kept
// connection that was translated inside ends with that. UDP sockets that are connected to another machine are
// disconnected the same way, where the kernel can (udp_diag); those that are not connected (QUIC and VPN
// servers, IKE), and SCTP, have no such end: their sockets send from addresses that are gone.
//
// IPsec's associations are the source's session with its peers, keys and counters included: they are
// forgotten, with the policies, in all namespaces.

#include <cstddef>
#include <string>
#include <vector>

namespace dupengine::machine {

struct DestroyedConnections {
    std::size_t destroyed = 0;
    std::size_t datagram = 0;         ///< UDP sockets, destroyed as well
    std::size_t kept = 0;             ///< inside this machine
    std::vector<std::string> failed;  ///< "10.0.0.5:22 - 10.0.0.9:4711: reason"; they live on
    bool has_forgotten_tracked =
        false;  ///< conntrack's table, where there is one: translated addresses are in it
};

/// At the source, before anything is frozen: the kernel loads what it needs for that (tcp_diag,
/// nf_conntrack_netlink), so that it is in the image; where processes are frozen it can load nothing. Throws
/// kUnsupported if it cannot do it. What UDP needs is loaded if it is there.
void prepare_to_destroy_connections();

/// Throws kUnsupported if the kernel cannot do that.
DestroyedConnections destroy_inherited_connections();

/// A kernel that has no IPsec, or has not loaded it, has nothing to forget. What could not be is noted.
void forget_ipsec(std::vector<std::string>& notes);

}  // namespace dupengine::machine
