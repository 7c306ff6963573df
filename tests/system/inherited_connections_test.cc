// Connections that a duplicate inherited end, and those inside it go on. The source's go on, too: their other
// ends hear nothing.

#include "machine/inherited_connections.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "machine/egress_gate.h"
#include "machine/links.h"
#include "tests/support/network_lab.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using machine::DestroyedConnections;
using test::accept_from;
using test::connect_to;
using test::in_own_network;
using test::ip;
using test::Outside;
using testing::IsEmpty;

Fd listen_outside(const Outside& outside, const std::string& address, std::uint16_t port) {
    const machine::InsideNamespace inside(outside.place());
    return test::listen_at(address, port);
}

int error_of(const Fd& socket) {
    char byte = 0;
    if (::recv(socket.get(), &byte, 1, MSG_DONTWAIT) >= 0) return 0;
    return errno;
}

bool goes_on(const Fd& one, const Fd& other) {
    char byte = 'x';
    return ::send(one.get(), &byte, 1, MSG_NOSIGNAL) == 1 && ::recv(other.get(), &byte, 1, 0) == 1;
}

// Both ends of a connection.
struct Pair {
    Fd near, far;
};

// What the wake does before: the gate closed, links silenced.
DestroyedConnections wake(machine::EgressGate& gate) {
    gate.close();
    for (const machine::NetworkDevice& device : machine::list_network_devices())
        if (device.name == "out0") machine::silence_devices({device});
    return machine::destroy_inherited_connections();
}

class ADuplicate {
  public:
    Pair connect_outside(const std::string& listening, const std::string& address, std::uint16_t port) {
        const Fd listener = listen_outside(outside, listening, port);
        Fd near = connect_to(address, port);
        return {std::move(near), accept_from(listener)};
    }
    static Pair connect_inside(const std::string& address, std::uint16_t port) {
        const Fd listener = test::listen_at(address, port);
        Fd near = connect_to(address, port);
        return {std::move(near), accept_from(listener)};
    }

    const Outside outside;
    machine::EgressGate gate{
        {{machine::find_network_namespaces().front(), ::if_nametoindex("out0"), "out0"}}};
};

TEST(InheritedConnections, WhetherTheyCanBeEndedIsTriedWithoutEndingAny) {
    in_own_network([] {
        const Pair inside = ADuplicate::connect_inside("127.0.0.1", 6001);
        ADuplicate duplicate;
        const Pair outside = duplicate.connect_outside("10.7.0.2", "10.7.0.2", 5001);
        machine::prepare_to_destroy_connections();
        EXPECT_TRUE(goes_on(inside.near, inside.far));
        EXPECT_TRUE(goes_on(outside.near, outside.far));
    });
}

TEST(InheritedConnections, InEveryStateTheyEndAndTheirOtherEndsHearNothing) {
    in_own_network([] {
        ADuplicate duplicate;
        const Pair four = duplicate.connect_outside("10.7.0.2", "10.7.0.2", 5001);
        const Pair six = duplicate.connect_outside("fd07::2", "fd07::2", 5002);
        const Pair mapped = duplicate.connect_outside("10.7.0.2", "::ffff:10.7.0.2", 5003);
        const Pair half_closed = duplicate.connect_outside("10.7.0.2", "10.7.0.2", 5004);
        ::shutdown(half_closed.near.get(), SHUT_WR);  // FIN_WAIT_2
        const Pair left = duplicate.connect_outside("10.7.0.2", "10.7.0.2", 5005);
        ::shutdown(left.far.get(), SHUT_WR);  // CLOSE_WAIT
        const Pair unsent = duplicate.connect_outside("10.7.0.2", "10.7.0.2", 5006);
        ip({"neighbour", "replace", "10.7.0.50", "lladdr", "02:00:00:00:00:50", "dev", "out0"});
        const Fd waiting = test::start_connecting("10.7.0.50", 22);  // SYN_SENT
        duplicate.gate.close();
        ::shutdown(unsent.near.get(), SHUT_WR);  // FIN_WAIT_1
        std::this_thread::sleep_for(50ms);
        test::FrameWatch watch(duplicate.outside);
        const DestroyedConnections report = wake(duplicate.gate);
        EXPECT_EQ(report.destroyed, 7u);
        EXPECT_EQ(report.has_forgotten_tracked,
                  std::filesystem::exists("/proc/sys/net/netfilter/nf_conntrack_count"));
        EXPECT_EQ(report.kept, 0u);
        EXPECT_THAT(report.failed, IsEmpty());
        for (const Pair* pair : {&four, &six, &mapped, &half_closed, &unsent})
            EXPECT_EQ(error_of(pair->near), ECONNABORTED);
        EXPECT_EQ(error_of(waiting), ECONNABORTED);
        EXPECT_EQ(machine::destroy_inherited_connections().destroyed, 0u);
        EXPECT_THAT(watch.take(), IsEmpty()) << "a reset would end the source's connection";
        for (const Pair* pair : {&four, &six, &mapped, &half_closed})
            EXPECT_NE(error_of(pair->far), ECONNRESET);
    });
}

TEST(InheritedConnections, ThoseInsideTheMachineAndListenersGoOn) {
    in_own_network([] {
        ADuplicate duplicate;
        const Pair four = ADuplicate::connect_inside("127.0.0.1", 6001);
        const Pair six = ADuplicate::connect_inside("::1", 6002);
        const Pair mapped = ADuplicate::connect_inside("::ffff:127.0.0.1", 6003);
        ip({"netns", "add", "container"});
        ip({"link", "add", "host0", "type", "veth", "peer", "name", "cont0", "netns", "container"});
        ip({"address", "add", "172.20.0.1/24", "dev", "host0"});
        ip({"link", "set", "host0", "up"});
        ip({"-n", "container", "address", "add", "172.20.0.2/24", "dev", "cont0"});
        ip({"-n", "container", "link", "set", "cont0", "up"});
        const Fd container = [] {
            for (const auto& where : machine::find_network_namespaces())
                if (where->name == "/run/netns/container") {
                    const machine::InsideNamespace inside(*where);
                    return test::listen_at("172.20.0.2", 6004);
                }
            return Fd();
        }();
        Fd to_container = connect_to("172.20.0.2", 6004);
        const Fd in_container = accept_from(container);
        const Fd everywhere = test::listen_at("0.0.0.0", 6005);
        // The source's own address: gone with the link.
        const Pair own = ADuplicate::connect_inside("10.7.0.1", 6006);
        const DestroyedConnections report = wake(duplicate.gate);
        EXPECT_EQ(report.destroyed, 2u) << "both ends of what used the source's address";
        EXPECT_EQ(report.kept, 8u);
        EXPECT_TRUE(goes_on(four.near, four.far));
        EXPECT_TRUE(goes_on(six.far, six.near));
        EXPECT_TRUE(goes_on(mapped.near, mapped.far));
        EXPECT_TRUE(goes_on(to_container, in_container));
        EXPECT_EQ(error_of(own.near), ECONNABORTED);
        const Fd late = connect_to("127.0.0.1", 6005);
        EXPECT_TRUE(goes_on(late, accept_from(everywhere)));
    });
}

TEST(InheritedConnections, OfContainersAndOfFrozenProcessesTheyEndToo) {
    in_own_network([] {
        ADuplicate duplicate;
        const Fd listener = listen_outside(duplicate.outside, "10.7.0.2", 5001);
        int results[2];
        ASSERT_EQ(::pipe(results), 0);
        const pid_t owner = ::fork();
        if (owner == 0) {
            const Fd connection = connect_to("10.7.0.2", 5001);
            char byte = 'x';
            if (::send(connection.get(), &byte, 1, MSG_NOSIGNAL) != 1) ::_exit(1);
            const int error = ::recv(connection.get(), &byte, 1, 0) < 0 ? errno : 0;
            ::_exit(::write(results[1], &error, sizeof error) == sizeof error ? 0 : 1);
        }
        ::close(results[1]);
        const Fd far = accept_from(listener);
        char byte = 0;
        ASSERT_EQ(::recv(far.get(), &byte, 1, 0), 1) << "it is not connected";
        ::kill(owner, SIGSTOP);
        int status = 0;
        ASSERT_EQ(::waitpid(owner, &status, WUNTRACED), owner);
        // A container that has an address of its own outside.
        ip({"netns", "add", "container"});
        ip({"link", "add", "link", "out0", "name", "inner0", "netns", "container", "type", "macvlan", "mode",
            "bridge"});
        ip({"-n", "container", "address", "add", "10.7.0.4/24", "dev", "inner0"});
        ip({"-n", "container", "link", "set", "inner0", "up"});
        const Fd container_listener = listen_outside(duplicate.outside, "10.7.0.2", 5002);
        Fd near;
        for (const auto& where : machine::find_network_namespaces())
            if (where->name == "/run/netns/container") {
                const machine::InsideNamespace inside(*where);
                near = connect_to("10.7.0.2", 5002);
            }
        ASSERT_TRUE(near.valid());
        const DestroyedConnections report = wake(duplicate.gate);
        EXPECT_EQ(report.destroyed, 2u);
        EXPECT_THAT(report.failed, IsEmpty());
        EXPECT_EQ(error_of(near), ECONNABORTED);
        ::kill(owner, SIGCONT);
        int error = 0;
        EXPECT_EQ(::read(results[0], &error, sizeof error), static_cast<ssize_t>(sizeof error));
        EXPECT_EQ(error, ECONNABORTED);
        ::waitpid(owner, nullptr, 0);
        ::close(results[0]);
    });
}

Fd connected_datagram(const std::string& from, const std::string& to) {
    const bool is_six = to.find(':') != std::string::npos;
    Fd socket(::socket(is_six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto address = [is_six](const std::string& text, std::uint16_t port) {
        sockaddr_storage storage{};
        if (is_six) {
            auto& six = reinterpret_cast<sockaddr_in6&>(storage);
            six.sin6_family = AF_INET6, six.sin6_port = htons(port);
            EXPECT_EQ(::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr), 1);
        } else {
            auto& four = reinterpret_cast<sockaddr_in&>(storage);
            four.sin_family = AF_INET, four.sin_port = htons(port);
            EXPECT_EQ(::inet_pton(AF_INET, text.c_str(), &four.sin_addr), 1);
        }
        return storage;
    };
    const sockaddr_storage own = address(from, 0), other = address(to, 4433);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&other), sizeof other), 0);
    return socket;
}

TEST(InheritedConnections, OfDatagramsThoseToOtherMachinesEndAndThoseInsideGoOn) {
    in_own_network([] {
        ADuplicate duplicate;
        const Fd four = connected_datagram("10.7.0.1", "10.7.0.2"),
                 six = connected_datagram("fd07::1", "fd07::2"),
                 mapped = connected_datagram("::ffff:10.7.0.1", "::ffff:10.7.0.2"),
                 inside = connected_datagram("127.0.0.1", "127.0.0.1");
        machine::prepare_to_destroy_connections();
        const DestroyedConnections report = wake(duplicate.gate);
        EXPECT_THAT(report.failed, IsEmpty());
        EXPECT_EQ(report.datagram, 3u);
        EXPECT_EQ(report.destroyed, 0u);
        for (const Fd* socket : {&four, &six, &mapped}) {
            EXPECT_EQ(error_of(*socket), ECONNABORTED);
            EXPECT_LT(::send(socket->get(), "x", 1, MSG_NOSIGNAL), 0) << "it still knows its peer";
        }
        EXPECT_EQ(::send(inside.get(), "x", 1, MSG_NOSIGNAL), 1);
    });
}

TEST(InheritedConnections, NoAssociationOfIpsecGoesOn) {
    in_own_network([] {
        ip({"netns", "add", "container"});
        const std::vector<std::vector<std::string>> places = {{}, {"-n", "container"}};
        const auto in = [](std::vector<std::string> place, const std::vector<std::string>& words) {
            place.insert(place.end(), words.begin(), words.end());
            return ip(place);
        };
        for (const auto& place : places) {
            // One that is being negotiated: of those no module of an algorithm is needed.
            in(place, {"xfrm", "state", "allocspi", "src", "10.7.0.1", "dst", "10.7.0.2", "proto", "esp",
                       "mode", "tunnel", "min", "4096", "max", "8192"});
            in(place, {"xfrm", "policy", "add", "src", "10.7.0.1", "dst", "10.7.0.2", "dir", "out", "tmpl",
                       "src", "10.7.0.1", "dst", "10.7.0.2", "proto", "esp", "mode", "tunnel"});
        }
        for (const auto& place : places) {
            ASSERT_NE(in(place, {"xfrm", "state"}), "");
            ASSERT_NE(in(place, {"xfrm", "policy"}), "");
        }
        std::vector<std::string> notes;
        machine::forget_ipsec(notes);
        machine::forget_ipsec(notes);  // where there is none
        EXPECT_THAT(notes, IsEmpty());
        for (const auto& place : places) {
            EXPECT_EQ(in(place, {"xfrm", "state"}), "");
            EXPECT_EQ(in(place, {"xfrm", "policy"}), "");
        }
    });
}

}  // namespace
}  // namespace dupengine
