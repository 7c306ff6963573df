#include "machine/network_devices.h"

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "machine/netlink.h"

namespace dupengine::machine {
namespace {

std::string mac_text(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte b : bytes)
        text += fmt::format("{}{:02x}", text.empty() ? "" : ":", std::to_integer<unsigned>(b));
    return text;
}

NetworkDevice parse(const NetlinkAnswer& answer) {
    const auto header = answer.header<ifinfomsg>();
    const auto attribute = [&](std::uint16_t type) { return answer.attribute<ifinfomsg>(type); };
    NetworkDevice device;
    device.index = static_cast<unsigned>(header.ifi_index);
    device.type = header.ifi_type;
    device.is_up = (header.ifi_flags & IFF_UP) != 0;
    device.name = as_name(attribute(IFLA_IFNAME));
    device.kind = as_name(find_attribute(attribute(IFLA_LINKINFO), IFLA_INFO_KIND));
    device.mac = mac_text(attribute(IFLA_ADDRESS));
    device.permanent_mac = mac_text(attribute(IFLA_PERM_ADDRESS));
    device.parent = as_name(attribute(IFLA_PARENT_DEV_NAME));
    device.master = as_value<unsigned>(attribute(IFLA_MASTER));
    device.below = as_value<unsigned>(attribute(IFLA_LINK));
    device.is_below_elsewhere = !attribute(IFLA_LINK_NETNSID).empty();
    device.mtu = as_value<unsigned>(attribute(IFLA_MTU));
    return device;
}

// The kernel itself puts these onto a line that is no network device.
bool is_line(std::uint16_t type) {
    constexpr std::uint16_t kLines[] = {
        ARPHRD_PPP,  ARPHRD_SLIP, ARPHRD_CSLIP, ARPHRD_SLIP6,   ARPHRD_CSLIP6, ARPHRD_ADAPT, ARPHRD_CAN,
        ARPHRD_AX25, ARPHRD_X25,  ARPHRD_HDLC,  ARPHRD_RAWHDLC, ARPHRD_LAPB,   ARPHRD_DLCI,  ARPHRD_FRAD};
    return std::find(std::begin(kLines), std::end(kLines), type) != std::end(kLines);
}

// The other end of a veth is beside it, not below.
bool stands_on_another(const NetworkDevice& device) {
    return device.kind != "veth" && device.kind != "netkit" && device.below != 0 &&
           device.below != device.index;
}

// Frames that these take stay in this machine, or pass another device. A kind that is not known here may be a
// tunnel.
bool is_inside(const NetworkDevice& device) {
    constexpr std::string_view kKinds[] = {"veth", "netkit", "bridge", "dummy",   "ifb",
                                           "vrf",  "nlmon",  "bond",   "vsockmon"};
    return device.type == ARPHRD_LOOPBACK ||
           std::find(std::begin(kKinds), std::end(kKinds), device.kind) != std::end(kKinds);
}

}  // namespace

std::vector<NetworkDevice> list_network_devices() {
    Netlink netlink(NETLINK_ROUTE);
    ifinfomsg header{};
    header.ifi_family = AF_UNSPEC;
    std::vector<NetworkDevice> devices;
    for (const NetlinkAnswer& answer :
         netlink.ask({RTM_GETLINK, NLM_F_DUMP, header}, "the network devices cannot be listed"))
        if (answer.type == RTM_NEWLINK) devices.push_back(parse(answer));
    return devices;
}

bool leads_outside(const NetworkDevice& device) {
    if (device.type == ARPHRD_LOOPBACK) return false;
    return !device.parent.empty() || is_line(device.type);
}

std::vector<NetworkDevice> reachable_from_outside(const std::vector<NetworkDevice>& devices) {
    std::vector<NetworkDevice> reached;
    std::set<unsigned> indices;
    const auto reach = [&](const NetworkDevice& device) {
        if (indices.insert(device.index).second) reached.push_back(device);
    };
    for (const NetworkDevice& device : devices)
        if (leads_outside(device)) reach(device);
    // What another namespace's device stands on is not told; it may lead outside.
    for (const NetworkDevice& device : devices)
        if (stands_on_another(device) && device.is_below_elsewhere) reach(device);
    for (std::size_t i = 0; i < reached.size(); ++i) {
        const unsigned index = reached[i].index, master = reached[i].master;
        for (const NetworkDevice& device : devices)
            if (device.index == master ||
                (stands_on_another(device) && !device.is_below_elsewhere && device.below == index))
                reach(device);
    }
    return reached;
}

std::vector<NetworkDevice> not_to_go_on_with(const std::vector<NetworkDevice>& devices) {
    std::vector<NetworkDevice> chosen = reachable_from_outside(devices);
    std::set<unsigned> indices;
    for (const NetworkDevice& device : chosen)
        indices.insert(device.index);
    const std::set<unsigned> reached = indices;
    for (const NetworkDevice& device : devices)
        if ((reached.contains(device.master) || !is_inside(device)) && indices.insert(device.index).second)
            chosen.push_back(device);
    return chosen;
}

std::vector<OutsideDevice> find_outside_devices() {
    std::vector<OutsideDevice> found;
    for (const NamespacePointer& where : find_network_namespaces()) {
        const InsideNamespace inside(*where);
        for (const NetworkDevice& device : list_network_devices())
            if (leads_outside(device)) found.push_back({where, device.index, device.name});
    }
    return found;
}

}  // namespace dupengine::machine
