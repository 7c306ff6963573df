#include "machine/inherited_connections.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/xfrm.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <set>
#include <system_error>

#include "base/error.h"
#include "machine/netlink.h"
#include "machine/network_namespaces.h"

namespace dupengine::machine {
namespace {

// A request that is on its way to be a connection (include/net/tcp_states.h); glibc does not know it.
constexpr unsigned kNewSynReceived = 12;
constexpr unsigned bit(unsigned state) {
    return 1U << state;
}
constexpr unsigned kConnected = bit(TCP_ESTABLISHED) | bit(TCP_SYN_SENT) | bit(TCP_SYN_RECV) |
                                bit(TCP_FIN_WAIT1) | bit(TCP_FIN_WAIT2) | bit(TCP_CLOSE_WAIT) |
                                bit(TCP_LAST_ACK) | bit(TCP_CLOSING) | bit(kNewSynReceived);

// Both kinds in one form: ::ffff:10.0.0.5 is 10.0.0.5.
using Address = std::array<std::byte, 16>;

Address as_mapped(std::span<const std::byte> bytes) {
    Address address{};
    if (bytes.size() >= 16) {
        std::memcpy(address.data(), bytes.data(), 16);
    } else if (bytes.size() >= 4) {
        address[10] = address[11] = std::byte{0xff};
        std::memcpy(address.data() + 12, bytes.data(), 4);
    }
    return address;
}

bool is_mapped(const Address& address) {
    constexpr std::array<std::byte, 12> kPrefix = {
        {{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, std::byte{0xff}, std::byte{0xff}}};
    return std::memcmp(address.data(), kPrefix.data(), kPrefix.size()) == 0;
}

bool is_loopback(const Address& address) {
    Address one{};
    one[15] = std::byte{1};
    return address == one || (is_mapped(address) && address[12] == std::byte{127});
}

std::string text_of(const Address& address, std::uint16_t port) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (is_mapped(address)) {
        ::inet_ntop(AF_INET, address.data() + 12, text, sizeof text);
        return fmt::format("{}:{}", text, port);
    }
    ::inet_ntop(AF_INET6, address.data(), text, sizeof text);
    return fmt::format("[{}]:{}", text, port);
}

struct Connection {
    inet_diag_sockid id{};
    std::uint8_t family = 0, protocol = 0;
    Address from{}, to{};
    std::string text() const {
        return text_of(from, ntohs(id.idiag_sport)) + " - " + text_of(to, ntohs(id.idiag_dport));
    }
};

// A UDP socket that is connected says that it is established.
inet_diag_req_v2 request_for(std::uint8_t family, std::uint8_t protocol) {
    inet_diag_req_v2 request{};
    request.sdiag_family = family;
    request.sdiag_protocol = protocol;
    request.idiag_states = protocol == IPPROTO_UDP ? bit(TCP_ESTABLISHED) : kConnected;
    return request;
}

std::vector<Connection> parse(const std::vector<NetlinkAnswer>& answers, const inet_diag_req_v2& request) {
    std::vector<Connection> found;
    for (const NetlinkAnswer& answer : answers) {
        const auto message = answer.header<inet_diag_msg>();
        if (answer.body.size() < sizeof message || (bit(message.idiag_state) & request.idiag_states) == 0)
            continue;
        const std::size_t size = message.idiag_family == AF_INET ? 4 : 16;
        const auto bytes = [size](const __be32(&words)[4]) {
            return std::as_bytes(std::span(words)).first(size);
        };
        found.push_back({message.id, message.idiag_family, request.sdiag_protocol,
                         as_mapped(bytes(message.id.idiag_src)), as_mapped(bytes(message.id.idiag_dst))});
    }
    return found;
}

std::vector<Connection> connections_of(Netlink& netlink, std::uint8_t family) {
    const inet_diag_req_v2 request = request_for(family, IPPROTO_TCP);
    return parse(
        netlink.ask({SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request}, "the TCP connections cannot be listed"),
        request);
}

// Without udp_diag nobody can tell; the rest of the wake does not depend on it.
std::vector<Connection> connected_datagram_sockets(Netlink& netlink, std::uint8_t family,
                                                   DestroyedConnections& report) {
    const inet_diag_req_v2 request = request_for(family, IPPROTO_UDP);
    std::vector<NetlinkAnswer> answers;
    const int error = netlink.try_ask({SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request}, &answers);
    if (error == 0) return parse(answers, request);
    report.failed.push_back(
        fmt::format("UDP sockets cannot be listed: {}", std::generic_category().message(error)));
    return {};
}

void add_addresses(std::set<Address>& addresses) {
    Netlink netlink(NETLINK_ROUTE);
    ifaddrmsg header{};
    header.ifa_family = AF_UNSPEC;
    for (const NetlinkAnswer& answer :
         netlink.ask({RTM_GETADDR, NLM_F_DUMP, header}, "the addresses of this machine cannot be listed")) {
        // On a line between two, IFA_ADDRESS is the other end.
        const auto local = answer.attribute<ifaddrmsg>(IFA_LOCAL);
        const auto found = local.empty() ? answer.attribute<ifaddrmsg>(IFA_ADDRESS) : local;
        if (!found.empty()) addresses.insert(as_mapped(found));
    }
}

void destroy(Netlink& netlink, const Connection& connection, DestroyedConnections& report) {
    inet_diag_req_v2 request = request_for(connection.family, connection.protocol);
    request.id = connection.id;
    const bool is_datagram = connection.protocol == IPPROTO_UDP;
    const int error = netlink.try_ask({SOCK_DESTROY, 0, request});
    if (error == EOPNOTSUPP && !is_datagram)
        throw_errno(Code::kUnsupported, error,
                    "this kernel destroys no connections (CONFIG_INET_DIAG_DESTROY)");
    if (error == 0)
        ++(is_datagram ? report.datagram : report.destroyed);
    else if (error != ENOENT)  // it ended by itself
        report.failed.push_back(fmt::format("{}{}: {}", is_datagram ? "UDP " : "", connection.text(),
                                            std::generic_category().message(error)));
}

void destroy_here(const std::set<Address>& own, DestroyedConnections& report) {
    Netlink netlink(NETLINK_SOCK_DIAG);
    const auto stays = [&own](const Address& address) {
        return is_loopback(address) || own.contains(address);
    };
    for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
        for (const Connection& connection : connections_of(netlink, family))
            if (stays(connection.from) && stays(connection.to))
                ++report.kept;
            else
                destroy(netlink, connection, report);
        for (const Connection& socket : connected_datagram_sockets(netlink, family, report))
            if (!stays(socket.from) || !stays(socket.to)) destroy(netlink, socket, report);
    }
}

// In the network namespace of this thread.
bool tracks_connections() {
    std::error_code none;
    return std::filesystem::exists("/proc/sys/net/netfilter/nf_conntrack_count", none);
}

// Where the kernel tracks connections its table is emptied: without a filter, all of it is meant.
void forget_tracked(const NetworkNamespace& where, DestroyedConnections& report) {
    if (!tracks_connections()) return;
    const nfgenmsg header{AF_UNSPEC, NFNETLINK_V0, 0};
    Netlink netlink(NETLINK_NETFILTER);
    const int error = netlink.try_ask({(NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE, 0, header});
    if (error == 0)
        report.has_forgotten_tracked = true;
    else
        report.failed.push_back(fmt::format("the table of tracked connections {}: {}", where.name,
                                            std::generic_category().message(error)));
}

// 0, or what the kernel has against it. In the network namespace of this thread.
int flush_ipsec(Netlink& netlink) {
    const xfrm_usersa_flush all{};  // of all protocols
    const int of_associations = netlink.try_ask({XFRM_MSG_FLUSHSA, 0, all});
    const int of_policies = netlink.try_ask({XFRM_MSG_FLUSHPOLICY, 0, std::array<std::byte, 0>{}});
    for (const int error : {of_associations, of_policies})
        if (error != 0 && error != ESRCH) return error;  // ESRCH: there is none
    return 0;
}

// Asking loads it.
void try_to_list_datagram_sockets() {
    Netlink netlink(NETLINK_SOCK_DIAG);
    for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}})
        netlink.try_ask({SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request_for(family, IPPROTO_UDP)});
}

// Of no connection at all.
void try_to_destroy(std::uint8_t family) {
    Netlink netlink(NETLINK_SOCK_DIAG);
    inet_diag_req_v2 request{};
    request.sdiag_family = family;
    request.sdiag_protocol = IPPROTO_TCP;
    netlink.ask({SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request},
                "the TCP connections cannot be listed (tcp_diag)");
    const int error = netlink.try_ask({SOCK_DESTROY, 0, request});
    if (error != ENOENT)
        throw_errno(Code::kUnsupported, error,
                    "this kernel destroys no connections (CONFIG_INET_DIAG_DESTROY)");
}

}  // namespace

void prepare_to_destroy_connections() {
    try_to_destroy(AF_INET);
    if (std::filesystem::exists("/proc/sys/net/ipv6")) try_to_destroy(AF_INET6);
    try_to_list_datagram_sockets();
    if (!tracks_connections()) return;
    const nfgenmsg header{AF_UNSPEC, NFNETLINK_V0, 0};
    Netlink(NETLINK_NETFILTER)
        .ask({(NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET_STATS, 0, header},
             "tracked connections cannot be forgotten (nf_conntrack_netlink)");
}

DestroyedConnections destroy_inherited_connections() {
    const std::vector<NamespacePointer> namespaces = find_network_namespaces();
    std::set<Address> own;
    for (const NamespacePointer& where : namespaces) {
        const InsideNamespace inside(*where);
        add_addresses(own);
    }
    DestroyedConnections report;
    for (const NamespacePointer& where : namespaces) {
        const InsideNamespace inside(*where);
        destroy_here(own, report);
        forget_tracked(*where, report);
    }
    return report;
}

void forget_ipsec(std::vector<std::string>& notes) {
    for (const NamespacePointer& where : find_network_namespaces())
        try {
            const InsideNamespace inside(*where);
            Netlink netlink(NETLINK_XFRM);
            if (const int error = flush_ipsec(netlink); error != 0)
                throw_errno(Code::kUnsupported, error, "what IPsec knows of the source's peers stays");
        } catch (const Error& e) {
            if (e.system_errno() != EPROTONOSUPPORT) notes.emplace_back(e.what());
        }
}

}  // namespace dupengine::machine
