#pragma once
// The network devices of this machine, as the kernel tells them, and which of them lead outside: a frame that
// leaves the machine passes one of those last, wherever it comes from. Looks only.

#include <cstdint>
#include <string>
#include <vector>

#include "machine/network_namespaces.h"

namespace dupengine::machine {

struct NetworkDevice {
    unsigned index = 0;
    std::string name;
    std::string kind;        ///< "vlan", "bridge", "veth", ...; empty for hardware and lo
    std::uint16_t type = 0;  ///< ARPHRD_ETHER, ...
    std::string mac;         ///< "52:54:00:12:34:56"; empty if it has none
    std::string
        permanent_mac;  ///< as its driver read it when it found the device: in a restored memory the source's
    std::string parent;               ///< the hardware behind it ("0000:00:03.0"); empty: none
    unsigned master = 0;              ///< of which bridge or bond it is a port; 0: none
    unsigned below = 0;               ///< on which device it stands (vlan, macvlan); 0: none
    bool is_below_elsewhere = false;  ///< that one is in another network namespace
    unsigned mtu = 0;
    bool is_up = false;
};

/// Those of the network namespace of the calling thread. Throws kUnsupported.
std::vector<NetworkDevice> list_network_devices();

/// Whether frames leave the machine here: there is hardware behind it, or a line that is no network device
/// (PPP and SLIP over a tty, CAN). A bridge, a bond, a VLAN, a tunnel, the tap of a virtual machine and the
/// end of a container do not count: what they send passes a device that does.
bool leads_outside(const NetworkDevice& device);

/// Of the devices of one namespace those that lead outside, and those that stand on them or have them as
/// ports: what the other machines know by its address. Those that lead outside come first.
std::vector<NetworkDevice> reachable_from_outside(const std::vector<NetworkDevice>& devices);

/// Of the devices of one namespace those that a duplicate must not go on with: those that are reachable from
/// outside, their ports (a container or a virtual machine that others know by its own address), and all
/// tunnels, whose keys and counters are the source's (WireGuard, tun, xfrm, ...). What stays connects only
/// what is inside: loopback, veth, bridges, dummies and the like.
std::vector<NetworkDevice> not_to_go_on_with(const std::vector<NetworkDevice>& devices);

/// A device that leads outside, and where.
struct OutsideDevice {
    NamespacePointer where;
    unsigned index = 0;
    std::string name;
};
/// In all network namespaces of this machine. Throws kUnsupported.
std::vector<OutsideDevice> find_outside_devices();

}  // namespace dupengine::machine
