#pragma once
// The links of a duplicate that has just woken: they go down as the first thing, lose what they had from the
// source, get what this machine is known by, and go up. Spoken to over rtnetlink(7): no program of the system
// is needed, and the kernel says what it refuses. Works while everything else is frozen. One thread at a
// time.
//
//     gate closed -> silence_links -> replace_addresses -> configure_link (each) -> gate opened -> raise_link
//     (each)
//
// The gate (egress_gate.h) has to be closed for the first: going down, the kernel takes leave of multicast
// groups. And open for the last: an IPv6 address asks once whether somebody has it, and nobody would hear.
//
// What a driver read when it found its device is the source's in a restored memory: the permanent address,
// which `ethtool -P` and udev show, and virtio-net's config space. So no address can be read from this
// machine's own hardware here; the role has to say it.

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "machine/network_devices.h"

namespace dupengine::machine {

/// What a link should be.
struct LinkSettings {
    std::string name;  ///< of the device: "eth0"; also of a bond, bridge or VLAN that is there
    std::string mac;   ///< "52:54:00:12:34:56"; empty: not changed, only for what has no hardware
    std::vector<std::string> addresses;  ///< "10.0.0.5/24", "2001:db8::5/64"
    std::vector<std::string> gateways;   ///< of default routes: "10.0.0.1", "fe80::1"; one of each kind
    std::optional<unsigned> mtu;
    bool up = true;
    /// What the driver knows is this machine's own, because no memory was restored: it may keep that address.
    bool is_own_hardware = false;
};

/// Throws kUsage naming what is wrong. Asks the kernel nothing.
void check_link_settings(const LinkSettings& settings);
/// Throws kRefused if a device that leads outside would keep the address it has, and that is the source's.
void require_own_address(const LinkSettings& settings, const NetworkDevice& device);

struct SilencedLink {
    NamespacePointer where;
    NetworkDevice device;  ///< as it was
};
/// In all network namespaces: whatever must not go on (not_to_go_on_with) goes down and loses all addresses;
/// its routes and neighbours go with that, and the session keys of a WireGuard device. Throws kUnsupported if
/// one of them did not, when all were tried.
std::vector<SilencedLink> silence_links();
/// Each that has an Ethernet address gets a random one of its own, so that a link which nobody gives another,
/// and which somebody puts up later, does not speak as the source. They have to be down. What keeps its
/// address is returned, with the reason.
std::vector<std::string> replace_addresses(const std::vector<SilencedLink>& links, RandomSource& random);
/// The same for some devices of the namespace of the calling thread.
void silence_devices(const std::vector<NetworkDevice>& devices);

/// Whether it has an address that is known beyond its own line (of global scope).
bool has_global_address(const NetworkDevice& device);

/// Puts the link down, and gives it MAC, MTU and addresses; it stays down. IPv6 addresses that the kernel
/// makes from a secret get a new secret. Throws kUsage, kRefused if there is no such link, or hardware would
/// keep the source's MAC, kUnsupported if the kernel refuses.
void configure_link(const LinkSettings& settings);
/// Up, if it should be, then the routes: the kernel has none of a link that is down. Throws as above.
void raise_link(const LinkSettings& settings);

}  // namespace dupengine::machine
