// What a duplicate is on the network: it must never be heard under the source's addresses, and has to be
// there under its own.

#include "machine/links.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "machine/egress_gate.h"
#include "tests/support/network_lab.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using machine::LinkSettings;
using machine::NetworkDevice;
using test::FrameWatch;
using test::in_own_network;
using test::ip;
using test::Outside;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

NetworkDevice device(const std::string& name) {
    for (const NetworkDevice& found : machine::list_network_devices())
        if (found.name == name) return found;
    throw_error(Code::kInternal, "{}: is not there", name);
}

const LinkSettings kOwn = {
    "out0", "02:00:00:00:00:99", {"10.7.0.9/24", "10.9.0.9/16", "fd07::9/64"}, {"10.7.0.2", "fd07::2"}, 1300,
    true};

TEST(Links, ADeviceIsToldAsItIs) {
    in_own_network([] {
        const Outside outside;
        const NetworkDevice out0 = device("out0");
        EXPECT_EQ(out0.kind, "veth");
        EXPECT_EQ(out0.mac, "02:00:00:00:00:01");
        EXPECT_EQ(out0.mtu, 1500u);
        EXPECT_TRUE(out0.is_up);
        EXPECT_EQ(out0.parent, "");
        EXPECT_FALSE(machine::leads_outside(out0));
        EXPECT_FALSE(machine::leads_outside(device("lo")));
        ip({"link", "add", "bridge0", "type", "bridge"});
        ip({"link", "set", "out0", "down", "master", "bridge0"});
        EXPECT_EQ(device("out0").master, device("bridge0").index);
        EXPECT_FALSE(device("out0").is_up);
    });
}

TEST(Links, AfterTheyAreSilencedNothingOfTheSourceIsLeft) {
    in_own_network([] {
        const Outside outside;
        ip({"address", "add", "10.7.0.3/24", "dev", "out0"});
        ip({"address", "add", "10.8.0.1", "peer", "10.8.0.2", "dev", "out0"});
        ip({"route", "add", "default", "via", "10.7.0.2"});
        ip({"route", "add", "10.44.0.0/16", "via", "10.7.0.2", "table", "77"});
        ip({"-6", "route", "add", "default", "via", "fd07::2"});
        ip({"neighbour", "replace", "10.7.0.2", "lladdr", "02:00:00:00:00:02", "dev", "out0"});
        std::ofstream("/proc/sys/net/ipv6/conf/out0/keep_addr_on_down") << 1;
        machine::silence_devices({device("out0")});
        EXPECT_FALSE(device("out0").is_up);
        EXPECT_EQ(ip({"-o", "address", "show", "dev", "out0"}), "");
        EXPECT_EQ(ip({"route", "show", "table", "all", "dev", "out0"}), "");
        EXPECT_EQ(ip({"-6", "route", "show", "table", "all", "dev", "out0"}), "");
        EXPECT_EQ(ip({"neighbour", "show", "dev", "out0", "nud", "all"}), "");
        EXPECT_THAT(ip({"-o", "address", "show", "dev", "lo"}), HasSubstr("127.0.0.1/8"))
            << "it is of nobody outside";
    });
}

// A tun device that calls itself a line: what leads outside without hardware.
class Line {
  public:
    explicit Line(const std::string& name) : fd_(open_path("/dev/net/tun", O_RDWR, Code::kInternal)) {
        ifreq request{};
        std::copy(name.begin(), name.end(), std::begin(request.ifr_name));
        request.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (::ioctl(fd_.get(), TUNSETIFF, &request) != 0 || ::ioctl(fd_.get(), TUNSETLINK, ARPHRD_PPP) != 0)
            throw_errno(Code::kInternal, errno, "no tun device");
        ip({"address", "add", "10.66.0.1/30", "dev", name});
        ip({"link", "set", name, "up"});
    }

  private:
    Fd fd_;
};

TEST(Links, ThoseThatLeadOutsideAreFoundInAllNamespacesAndOnlyThoseGoDown) {
    in_own_network([] {
        const Outside outside;  // what leads there is a veth
        const Line line("ppp0");
        ip({"netns", "add", "container"});
        const Line other("ppp1");
        ip({"link", "set", "ppp1", "netns", "container"});
        ip({"-n", "container", "link", "set", "ppp1", "up"});
        std::vector<std::string> names;
        for (const machine::OutsideDevice& found : machine::find_outside_devices())
            names.push_back(found.name);
        EXPECT_THAT(names, testing::UnorderedElementsAre("ppp0", "ppp1"));
        machine::EgressGate gate;
        gate.check();
        gate.close();
        test::send_datagram("10.66.0.2", 9);
        EXPECT_EQ(gate.closed_frames(), 1u);
        EXPECT_EQ(machine::silence_links().size(), 2u);
        EXPECT_FALSE(device("ppp0").is_up);
        EXPECT_THAT(ip({"-n", "container", "link", "show", "ppp1"}), HasSubstr("state DOWN"));
        EXPECT_TRUE(device("out0").is_up);
    });
}

TEST(Links, OneThatNobodyNamesDoesNotSpeakAsTheSourceEvenIfItIsPutUp) {
    in_own_network([] {
        const Outside outside;
        ip({"netns", "add", "container"});
        ip({"link", "add", "link", "out0", "name", "inner0", "netns", "container", "address",
            "02:00:00:00:00:04", "type", "macvlan", "mode", "bridge"});
        machine::silence_devices({device("out0")});
        std::vector<machine::SilencedLink> links = {
            {machine::find_network_namespaces().front(), device("out0")}};
        for (const auto& where : machine::find_network_namespaces())
            if (where->name == "/run/netns/container") {
                const machine::InsideNamespace inside(*where);
                links.push_back({where, device("inner0")});
            }
        ASSERT_EQ(links.size(), 2u);
        SystemRandom random;
        EXPECT_THAT(machine::replace_addresses(links, random), IsEmpty());
        EXPECT_THAT(ip({"-n", "container", "link", "show", "inner0"}), Not(HasSubstr("02:00:00:00:00:04")));
        const std::string mac = device("out0").mac;
        EXPECT_NE(mac, "02:00:00:00:00:01");
        EXPECT_EQ(std::stoul(mac.substr(0, 2), nullptr, 16) & 3, 2u)
            << "locally administered, of one machine";
        FrameWatch watch(outside);
        ip({"link", "set", "out0", "up"});
        std::this_thread::sleep_for(100ms);  // it says that it is there
        for (const std::string& sender : watch.take_senders())
            EXPECT_EQ(sender, mac);
        machine::configure_link(kOwn);
        EXPECT_EQ(device("out0").mac, kOwn.mac);
        const NetworkDevice gone = [] {
            NetworkDevice device;
            device.index = 4711, device.name = "gone0", device.mac = "02:00:00:00:00:05";
            device.type = ARPHRD_ETHER;
            return device;
        }();
        EXPECT_THAT(machine::replace_addresses({{links.front().where, gone}}, random),
                    ElementsAre(HasSubstr("gone0: keeps the address 02:00:00:00:00:05")));
    });
}

TEST(Links, ATunnelOfTheSourceDoesNotGoOn) {
    in_own_network([] {
        const Outside outside;
        const Fd vpn = [] {
            Fd fd = open_path("/dev/net/tun", O_RDWR, Code::kInternal);
            ifreq request{};
            std::strcpy(request.ifr_name, "tun0");
            request.ifr_flags = IFF_TUN | IFF_NO_PI;
            if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) throw_errno(Code::kInternal, errno, "tun0");
            return fd;
        }();
        ip({"address", "add", "10.66.0.1/30", "dev", "tun0"});
        ip({"link", "set", "tun0", "up"});
        machine::silence_links();
        EXPECT_FALSE(device("tun0").is_up);
        EXPECT_EQ(ip({"-o", "address", "show", "dev", "tun0"}), "");
        EXPECT_TRUE(device("lo").is_up);
        EXPECT_TRUE(device("out0").is_up) << "a veth";
    });
}

TEST(Links, FromSourceToItselfAndNeverHeardInBetween) {
    in_own_network([] {
        const Outside outside;
        machine::EgressGate gate(
            {{machine::find_network_namespaces().front(), device("out0").index, "out0"}});
        FrameWatch watch(outside);
        std::this_thread::sleep_for(50ms);  // what it had to say as the source
        gate.close();
        EXPECT_TRUE(gate.drain(1s));
        watch.take();
        machine::silence_devices({device("out0")});
        machine::configure_link(kOwn);
        EXPECT_FALSE(device("out0").is_up) << "it has to stay down until the gate is open";
        EXPECT_THAT(watch.take_senders(), IsEmpty()) << "going down it took leave as the source";
        gate.open();
        machine::raise_link(kOwn);
        EXPECT_THAT(ip({"-o", "-4", "address", "show", "dev", "out0"}),
                    AllOf(HasSubstr("10.7.0.9/24 brd 10.7.0.255"), HasSubstr("10.9.0.9/16")));
        EXPECT_THAT(
            ip({"-o", "-6", "address", "show", "dev", "out0"}),
            AllOf(HasSubstr("fd07::9/64"), HasSubstr("fe80::ff:fe00:99/64"), Not(HasSubstr("fd07::1/"))));
        EXPECT_THAT(ip({"route", "show", "default"}), HasSubstr("via 10.7.0.2 dev out0"));
        EXPECT_THAT(ip({"-6", "route", "show", "default"}), HasSubstr("via fd07::2 dev out0"));
        EXPECT_EQ(device("out0").mac, "02:00:00:00:00:99");
        EXPECT_EQ(device("out0").mtu, 1300u);
        const Fd listener = [&] {
            const machine::InsideNamespace inside(outside.place());
            return test::listen_at("10.7.0.2", 5000);
        }();
        const Fd client = test::connect_to("10.7.0.2", 5000);
        EXPECT_THAT(watch.take_senders(), ElementsAre("02:00:00:00:00:99"));
    });
}

TEST(Links, AGatewayOutsideOfAllNetworksIsReached) {
    in_own_network([] {
        const Outside outside;
        LinkSettings settings{"out0", "02:00:00:00:00:99", {"10.7.0.9/32"}, {"10.7.0.2", "fe80::2"}, {},
                              true};
        machine::configure_link(settings);
        machine::raise_link(settings);
        EXPECT_THAT(ip({"route", "show", "default"}), HasSubstr("via 10.7.0.2 dev out0"));
        EXPECT_THAT(ip({"-6", "route", "show", "default"}), HasSubstr("via fe80::2 dev out0"));
        settings.up = false;
        machine::configure_link(settings);
        machine::raise_link(settings);
        EXPECT_FALSE(device("out0").is_up);
    });
}

TEST(Links, AddressesMadeFromASecretAreOthersThanTheSources) {
    in_own_network([] {
        const Outside outside;
        const auto own_address = [] {
            const std::string shown = ip({"-o", "-6", "address", "show", "dev", "out0", "scope", "link"});
            return shown.substr(shown.find("fe80::"), shown.find("/64") - shown.find("fe80::"));
        };
        ip({"link", "set", "out0", "down"});
        ip({"link", "set", "out0", "addrgenmode", "random"});
        ip({"link", "set", "out0", "up"});
        const std::string before = own_address();
        ip({"link", "set", "out0", "down"});
        ip({"link", "set", "out0", "up"});
        ASSERT_EQ(own_address(), before) << "the kernel keeps its secret";
        const LinkSettings settings{"out0", "02:00:00:00:00:99", {}, {}, {}, true};
        machine::configure_link(settings);
        machine::raise_link(settings);
        EXPECT_NE(own_address(), before);
    });
}

TEST(Links, WhatCannotBeIsRefusedWithItsName) {
    in_own_network([] {
        const Outside outside;
        const auto refusal_of = [](const LinkSettings& settings) -> std::string {
            try {
                machine::configure_link(settings);
            } catch (const Error& e) {
                return e.what();
            }
            return "nothing was refused";
        };
        EXPECT_THAT(refusal_of({"eth7", "", {}, {}, {}, true}),
                    HasSubstr("eth7: this machine has no such link"));
        EXPECT_THAT(refusal_of({"out0", "", {}, {}, 68, true}), "nothing was refused");
        const Line line("ppp0");
        EXPECT_THAT(refusal_of({"ppp0", "02:00:00:00:00:99", {}, {}, {}, true}),
                    HasSubstr("ppp0: address or MTU cannot be set"));
    });
}

}  // namespace
}  // namespace dupengine
