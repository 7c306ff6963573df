// Which devices lead outside, and what a link may be given.

#include "machine/links.h"

#include <gmock/gmock.h>
#include <linux/if_arp.h>
#include <sys/socket.h>

#include "machine/link_addresses.h"

namespace dupengine::machine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

NetworkDevice hardware(unsigned index, const std::string& name, unsigned master = 0) {
    NetworkDevice device;
    device.index = index, device.name = name, device.master = master;
    device.type = ARPHRD_ETHER;
    device.mac = "52:54:00:12:34:56";
    device.parent = "0000:00:03.0";
    return device;
}
NetworkDevice made(unsigned index, const std::string& name, const std::string& kind, unsigned below = 0,
                   unsigned master = 0) {
    NetworkDevice device = hardware(index, name, master);
    device.parent.clear();
    device.kind = kind, device.below = below;
    return device;
}
NetworkDevice of_type(std::uint16_t type) {
    NetworkDevice device = made(9, "line", "");
    device.type = type;
    return device;
}

TEST(OutsideDevices, AreHardwareAndLinesAndNothingElse) {
    EXPECT_TRUE(leads_outside(hardware(2, "eth0")));
    EXPECT_TRUE(leads_outside(hardware(2, "eth0", 7))) << "a port of a bridge is where its frames leave";
    EXPECT_TRUE(leads_outside(of_type(ARPHRD_PPP))) << "a modem";
    EXPECT_TRUE(leads_outside(of_type(ARPHRD_SLIP)));
    EXPECT_TRUE(leads_outside(of_type(ARPHRD_CAN)));
    EXPECT_FALSE(leads_outside(of_type(ARPHRD_LOOPBACK)));
    for (const char* kind : {"bridge", "bond", "vlan", "veth", "tun", "wireguard", "dummy", "macvlan"})
        EXPECT_FALSE(leads_outside(made(3, "made", kind))) << kind;
}

std::vector<std::string> names_of(const std::vector<NetworkDevice>& devices) {
    std::vector<std::string> names;
    for (const NetworkDevice& device : devices)
        names.push_back(device.name);
    return names;
}

TEST(OutsideDevices, WhatStandsOnThemIsKnownOutsideAndTheNetworkOfContainersIsNot) {
    const std::vector<NetworkDevice> devices = {
        made(20, "vlan7", "vlan", 11), made(11, "bond0", "bond"),
        hardware(2, "eth0", 11),       hardware(3, "eth1", 12),
        made(12, "br0", "bridge"),     made(13, "tap0", "tun", 0, 12),
        made(14, "docker0", "bridge"), made(15, "veth1", "veth", 2, 14),
        made(16, "wg0", "wireguard"),  made(17, "macvlan0", "macvlan", 20),
        made(18, "sit0", "sit", 18)};
    EXPECT_THAT(names_of(reachable_from_outside(devices)),
                ElementsAre("eth0", "eth1", "bond0", "br0", "vlan7", "macvlan0"));
}

TEST(OutsideDevices, TunnelsAndWhatIsBridgedOutsideDoNotGoOnAndTheNetworkOfContainersDoes) {
    NetworkDevice lo = of_type(ARPHRD_LOOPBACK);
    lo.name = "lo", lo.index = 1, lo.kind.clear();
    const std::vector<NetworkDevice> devices = {lo,
                                                hardware(2, "eth0", 12),
                                                made(12, "br0", "bridge"),
                                                made(13, "tap0", "tun", 0, 12),
                                                made(19, "veth9", "veth", 2, 12),
                                                made(14, "docker0", "bridge"),
                                                made(15, "veth1", "veth", 2, 14),
                                                made(16, "wg0", "wireguard"),
                                                made(17, "tun0", "tun"),
                                                made(18, "xfrm0", "xfrm"),
                                                made(20, "dummy0", "dummy"),
                                                made(21, "new0", "of-a-later-kernel"),
                                                made(22, "gre0", "gre")};
    EXPECT_THAT(names_of(not_to_go_on_with(devices)),
                ElementsAre("eth0", "br0", "tap0", "veth9", "wg0", "tun0", "xfrm0", "new0", "gre0"));
}

TEST(OutsideDevices, AContainersDeviceOnOneOfTheHostIsKnownOutside) {
    NetworkDevice inner = made(2, "eth0", "macvlan", 5);
    inner.is_below_elsewhere = true;
    NetworkDevice end = made(3, "eth1", "veth", 6);
    end.is_below_elsewhere = true;
    EXPECT_THAT(names_of(reachable_from_outside({inner, end})), ElementsAre("eth0"));
}

TEST(OutsideDevices, ALoopOfDevicesEnds) {
    EXPECT_THAT(names_of(reachable_from_outside(
                    {hardware(1, "eth0", 2), made(2, "a", "bridge", 3, 3), made(3, "b", "vlan", 2, 2)})),
                ElementsAre("eth0", "a", "b"));
}

template <typename Body>
std::string refusal_of(Body&& body, Code code) {
    try {
        body();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        return e.what();
    }
    return "nothing was refused";
}

TEST(LinkSettings, HardwareDoesNotKeepTheSourcesAddress) {
    EXPECT_THAT(refusal_of(
                    [] {
                        require_own_address({"eth0", "", {}, {}, {}, true}, hardware(2, "eth0"));
                    },
                    Code::kRefused),
                HasSubstr("eth0: would speak with 52:54:00:12:34:56, which is not its own"));
    require_own_address({"eth0", "02:00:00:00:00:01", {}, {}, {}, true}, hardware(2, "eth0"));
    require_own_address({"vlan7", "", {}, {}, {}, true}, made(20, "vlan7", "vlan", 2));
}

TEST(LinkSettings, WhatIsNoAddressOfOneMachineIsRefused) {
    for (const char* mac :
         {"", "52:54:00:12:34", "52:54:00:12:34:5g", "52-54-00-12-34-56", "01:00:5e:00:00:01",
          "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "52:54:00:12:34:56:78", "525:4:00:12:34:56"})
        EXPECT_THAT(refusal_of([&] { parse_mac(mac); }, Code::kUsage),
                    HasSubstr("no address of one Ethernet device"))
            << mac;
    EXPECT_EQ(to_hex(parse_mac("52:54:00:aB:cd:EF")), "525400abcdef");
    for (const char* address :
         {"", "10.0.0", "10.0.0.256", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "eth0"})
        EXPECT_THAT(refusal_of([&] { parse_internet_address(address); }, Code::kUsage),
                    HasSubstr("no address of a machine"))
            << address;
    EXPECT_THROW(parse_internet_address(std::string("10.0.0.5\0x", 10)), Error);
    for (const char* address :
         {"10.0.0.5", "10.0.0.5/", "10.0.0.5/33", "10.0.0.5/0", "10.0.0.5/-1", "10.0.0.5/24x", "::1/129"})
        EXPECT_THROW(parse_address_with_prefix(address), Error) << address;
}

TEST(LinkSettings, NamesAndSizesAreLookedAtBeforeAnythingIsDone) {
    for (const char* name : {"", ".", "..", "a/b", "a b", "a:1", "sixteen-letters-", "tab\t"})
        EXPECT_THAT(refusal_of(
                        [&] {
                            check_link_settings({name, "", {}, {}, {}, true});
                        },
                        Code::kUsage),
                    HasSubstr("no name of a link"));
    EXPECT_THROW(check_link_settings({"eth0", "", {}, {}, 67, true}), Error);
    EXPECT_THROW(check_link_settings({"eth0", "", {}, {}, 65536, true}), Error);
    EXPECT_THROW(check_link_settings({"eth0", "", {"10.0.0.5"}, {}, {}, true}), Error);
    EXPECT_THROW(check_link_settings({"eth0", "", {}, {"10.0.0.1/24"}, {}, true}), Error);
    check_link_settings({"eth0.7",
                         "52:54:00:12:34:56",
                         {"10.0.0.5/24", "2001:db8::5/64"},
                         {"10.0.0.1", "fe80::1"},
                         9000,
                         true});
}

TEST(LinkSettings, ANetworkHasItsNeighboursAndItsLastAddress) {
    const AddressWithPrefix four = parse_address_with_prefix("10.1.2.3/22");
    EXPECT_TRUE(four.contains(parse_internet_address("10.1.3.255")));
    EXPECT_FALSE(four.contains(parse_internet_address("10.1.4.1")));
    EXPECT_FALSE(four.contains(parse_internet_address("fe80::1")));
    EXPECT_EQ(to_hex(four.broadcast()), "0a0103ff");
    EXPECT_TRUE(parse_address_with_prefix("10.1.2.3/31").broadcast().empty());
    const AddressWithPrefix six = parse_address_with_prefix("2001:db8::5/61");
    EXPECT_TRUE(six.contains(parse_internet_address("2001:db8:0:7::1")));
    EXPECT_FALSE(six.contains(parse_internet_address("2001:db8:0:8::1")));
    EXPECT_TRUE(six.broadcast().empty());
}

}  // namespace
}  // namespace dupengine::machine
