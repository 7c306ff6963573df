#include "machine/links.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/fd.h"
#include "base/random.h"
#include "machine/link_addresses.h"
#include "machine/netlink.h"

namespace dupengine::machine {
namespace {

constexpr unsigned kSmallestMtu = 68;  // RFC 791

ifinfomsg link_header(unsigned index, bool up) {
    ifinfomsg header{};
    header.ifi_family = AF_UNSPEC;
    header.ifi_index = static_cast<int>(index);
    header.ifi_flags = up ? IFF_UP : 0;
    header.ifi_change = IFF_UP;
    return header;
}

void set_up(Netlink& netlink, const NetworkDevice& device, bool up) {
    netlink.ask({RTM_NEWLINK, 0, link_header(device.index, up)},
                fmt::format("{}: cannot be put {}", device.name, up ? "up" : "down"));
}

std::vector<NetlinkAnswer> list_addresses(Netlink& netlink, const NetworkDevice& device,
                                          const std::string& what) {
    ifaddrmsg all{};
    all.ifa_family = AF_UNSPEC;
    std::vector<NetlinkAnswer> answers = netlink.ask({RTM_GETADDR, NLM_F_DUMP, all}, what);
    std::erase_if(answers, [&](const NetlinkAnswer& answer) {
        return answer.header<ifaddrmsg>().ifa_index != device.index;
    });
    return answers;
}

void remove_addresses(Netlink& netlink, const NetworkDevice& device) {
    const std::string what = device.name + ": its addresses cannot be taken from it";
    for (const NetlinkAnswer& answer : list_addresses(netlink, device, what)) {
        NetlinkQuestion question(RTM_DELADDR, 0, answer.header<ifaddrmsg>());
        for (const std::uint16_t attribute : {IFA_LOCAL, IFA_ADDRESS})
            if (const auto value = answer.attribute<ifaddrmsg>(attribute); !value.empty())
                question.add(attribute, value);
        // The second ones of a network go with its first.
        if (const int error = netlink.try_ask(question); error != 0 && error != EADDRNOTAVAIL)
            throw_errno(Code::kUnsupported, error, "{}{}", what, netlink.remark());
    }
}

void add_address(Netlink& netlink, const NetworkDevice& device, const std::string& text) {
    const AddressWithPrefix wanted = parse_address_with_prefix(text);
    ifaddrmsg header{};
    header.ifa_family = wanted.address.family;
    header.ifa_prefixlen = static_cast<std::uint8_t>(wanted.prefix_bits);
    header.ifa_index = device.index;
    header.ifa_scope = RT_SCOPE_UNIVERSE;
    NetlinkQuestion question(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, header);
    question.add(IFA_LOCAL, wanted.address.bytes);
    question.add(IFA_ADDRESS, wanted.address.bytes);
    if (const Bytes broadcast = wanted.broadcast(); !broadcast.empty())
        question.add(IFA_BROADCAST, broadcast);
    netlink.ask(question, fmt::format("{}: the address {} cannot be given to it", device.name, text));
}

void add_default_route(Netlink& netlink, const NetworkDevice& device, const std::string& text,
                       const LinkSettings& settings) {
    const InternetAddress gateway = parse_internet_address(text);
    rtmsg header{};
    header.rtm_family = gateway.family;
    header.rtm_table = RT_TABLE_MAIN;
    header.rtm_protocol = RTPROT_STATIC;
    header.rtm_scope = RT_SCOPE_UNIVERSE;
    header.rtm_type = RTN_UNICAST;
    const bool is_neighbour = std::any_of(
        settings.addresses.begin(), settings.addresses.end(),
        [&](const std::string& address) { return parse_address_with_prefix(address).contains(gateway); });
    if (!is_neighbour) header.rtm_flags = RTNH_F_ONLINK;  // a provider's, outside of any network of ours
    NetlinkQuestion question(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header);
    question.add(RTA_GATEWAY, gateway.bytes);
    question.add_number(RTA_OIF, device.index);
    netlink.ask(question, fmt::format("{}: no default route through {}", device.name, text));
}

// Where the kernel makes addresses from a secret and the permanent address (RFC 7217), both are the source's.
void renew_address_secret(const NetworkDevice& device) {
    constexpr char kStable = '2', kRandom = '3';  // IN6_ADDR_GEN_MODE_STABLE_PRIVACY, ..._RANDOM
    const std::string folder = "/proc/sys/net/ipv6/conf/" + device.name;
    const Fd mode(::open((folder + "/addr_gen_mode").c_str(), O_RDONLY | O_CLOEXEC));
    char kind = 0;
    if (!mode.valid() || ::read(mode.get(), &kind, 1) != 1 || (kind != kStable && kind != kRandom)) return;
    std::array<std::byte, 16> bytes;
    SystemRandom().fill(bytes);
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 2)
        text += (i == 0 ? "" : ":") + to_hex(std::span(bytes).subspan(i, 2));
    const Fd secret = open_path(folder + "/stable_secret", O_WRONLY, Code::kUnsupported);
    if (::write(secret.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        throw_errno(Code::kUnsupported, errno, "{}: no new secret for its IPv6 addresses", device.name);
}

// Locally administered, of one machine (IEEE 802, 8.2).
std::array<std::byte, 6> random_mac(RandomSource& random) {
    std::array<std::byte, 6> mac;
    random.fill(mac);
    mac[0] = (mac[0] & std::byte{0xfc}) | std::byte{0x02};
    return mac;
}

NetworkDevice find_device(const std::string& name) {
    for (NetworkDevice& device : list_network_devices())
        if (device.name == name) return std::move(device);
    throw_error(Code::kRefused, "{}: this machine has no such link", name);
}

}  // namespace

void check_link_settings(const LinkSettings& settings) {
    if (settings.name.empty() || settings.name.size() >= IFNAMSIZ || settings.name == "." ||
        settings.name == ".." ||
        settings.name.find_first_of(std::string_view("/: \t\n\0", 6)) != std::string::npos)
        throw_error(Code::kUsage, "\"{}\" is no name of a link", settings.name);
    if (!settings.mac.empty()) parse_mac(settings.mac);
    for (const std::string& address : settings.addresses)
        parse_address_with_prefix(address);
    for (const std::string& gateway : settings.gateways)
        parse_internet_address(gateway);
    if (settings.mtu && (*settings.mtu < kSmallestMtu || *settings.mtu > 65535))
        throw_error(Code::kUsage, "{}: an MTU of {} is not between {} and 65535", settings.name,
                    *settings.mtu, kSmallestMtu);
}

void require_own_address(const LinkSettings& settings, const NetworkDevice& device) {
    if (settings.mac.empty() && !settings.is_own_hardware && leads_outside(device) && !device.mac.empty())
        throw_error(Code::kRefused,
                    "{}: would speak with {}, which is not its own address; the role has to name one",
                    device.name, device.mac);
}

void silence_devices(const std::vector<NetworkDevice>& devices) {
    Netlink netlink(NETLINK_ROUTE);
    std::optional<Error> first;
    const auto attempt = [&](auto&& step) {
        for (const NetworkDevice& device : devices)
            try {
                step(device);
            } catch (const Error& e) {
                if (!first) first = e;
            }
    };
    attempt([&](const NetworkDevice& device) { set_up(netlink, device, false); });
    attempt([&](const NetworkDevice& device) { remove_addresses(netlink, device); });
    if (first) throw Error(*first);
}

std::vector<SilencedLink> silence_links() {
    std::vector<SilencedLink> silenced;
    std::optional<Error> first;
    for (const NamespacePointer& where : find_network_namespaces())
        try {
            const InsideNamespace inside(*where);
            const auto devices = not_to_go_on_with(list_network_devices());
            for (const NetworkDevice& device : devices)
                silenced.push_back({where, device});
            silence_devices(devices);
        } catch (const Error& e) {
            if (!first) first = e;
        }
    if (first) throw Error(*first);
    return silenced;
}

std::vector<std::string> replace_addresses(const std::vector<SilencedLink>& links, RandomSource& random) {
    std::vector<std::string> kept;
    for (const auto& [where, device] : links) {
        if (device.type != ARPHRD_ETHER || device.mac.empty()) continue;
        try {
            const InsideNamespace inside(*where);
            Netlink netlink(NETLINK_ROUTE);
            NetlinkQuestion question(RTM_NEWLINK, 0, link_header(device.index, false));
            question.add(IFLA_ADDRESS, random_mac(random));
            netlink.ask(question, device.name + ": keeps the address " + device.mac);
        } catch (const Error& e) {
            kept.emplace_back(e.what());
        }
    }
    return kept;
}

bool has_global_address(const NetworkDevice& device) {
    Netlink netlink(NETLINK_ROUTE);
    const auto answers = list_addresses(netlink, device, device.name + ": its addresses cannot be listed");
    return std::ranges::any_of(answers, [](const NetlinkAnswer& answer) {
        return answer.header<ifaddrmsg>().ifa_scope == RT_SCOPE_UNIVERSE;
    });
}

void configure_link(const LinkSettings& settings) {
    check_link_settings(settings);
    const NetworkDevice device = find_device(settings.name);
    require_own_address(settings, device);
    Netlink netlink(NETLINK_ROUTE);
    set_up(netlink, device, false);
    remove_addresses(netlink, device);
    NetlinkQuestion question(RTM_NEWLINK, 0, link_header(device.index, false));
    if (!settings.mac.empty()) question.add(IFLA_ADDRESS, parse_mac(settings.mac));
    if (settings.mtu) question.add_number(IFLA_MTU, *settings.mtu);
    netlink.ask(question, fmt::format("{}: address or MTU cannot be set", device.name));
    renew_address_secret(device);
    for (const std::string& address : settings.addresses)
        add_address(netlink, device, address);
}

void raise_link(const LinkSettings& settings) {
    check_link_settings(settings);
    if (!settings.up) return;
    const NetworkDevice device = find_device(settings.name);
    Netlink netlink(NETLINK_ROUTE);
    set_up(netlink, device, true);
    for (const std::string& gateway : settings.gateways)
        add_default_route(netlink, device, gateway, settings);
}

}  // namespace dupengine::machine
