// [[link]]: network interfaces, as files of what manages them in the copied system. Files of an earlier role,
// or of the source's own, are taken away: they would give this node the addresses of another one.

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "profiles/items/interfaces_file.h"
#include "profiles/items/item.h"
#include "profiles/items/unit_files.h"

namespace dupengine::profiles {
namespace {

constexpr const char* kNetworkd = "/etc/systemd/network";
constexpr const char* kConnections = "/etc/NetworkManager/system-connections";

bool is_ipv6(const std::string& address) {
    return address.find(':') != std::string::npos;
}

std::string of_family(const std::vector<std::string>& addresses, bool ipv6) {
    const auto found = std::find_if(addresses.begin(), addresses.end(),
                                    [&](const std::string& text) { return is_ipv6(text) == ipv6; });
    return found == addresses.end() ? std::string() : *found;
}

std::string line(const char* key, const std::string& value) {
    return value.empty() ? std::string() : fmt::format("{}={}\n", key, value);
}

std::string mtu_of(const WantedLink& link) {
    return link.mtu ? std::to_string(*link.mtu) : std::string();
}

// systemd.network(5). No .link file beside it: udev matches one before the interface has its name, and one
// that matched would take the place of the vendor's, which is what gives the name.
std::string networkd_text(const WantedLink& link) {
    std::string text = "[Match]\nName=" + link.name + "\n\n[Link]\n" + line("MACAddress", link.mac) +
                       line("MTUBytes", mtu_of(link));
    if (!link.up) text += "ActivationPolicy=down\nRequiredForOnline=no\n";
    text += "\n[Network]\n";
    if (link.dhcp) text += "DHCP=yes\n";
    for (const std::string& address : link.addresses)
        text += line("Address", address);
    for (const std::string& gateway : link.gateways)
        text += line("Gateway", gateway);
    for (const std::string& server : link.dns)
        text += line("DNS", server);
    return text;
}

// What is said of the interface as a whole: once, because not every driver changes a MAC address while it is
// up.
std::string interfaces_options(const WantedLink& link) {
    std::string text = link.mac.empty() ? "" : "    hwaddress " + link.mac + "\n";
    if (link.mtu) text += "    mtu " + mtu_of(link) + "\n";
    if (link.dns.empty()) return text;
    text += "    dns-nameservers";
    for (const std::string& server : link.dns)
        text += " " + server;
    return text + "\n";
}

// interfaces(5): a stanza for each address.
std::string interfaces_text(const WantedLink& link) {
    std::string text = link.up ? "auto " + link.name + "\n" : "";
    std::string options = interfaces_options(link);
    if (link.addresses.empty())
        text += fmt::format("iface {} inet {}\n{}", link.name, link.dhcp ? "dhcp" : "manual", options);
    std::vector<std::string> gateways = link.gateways;
    for (const std::string& address : link.addresses) {
        const bool ipv6 = is_ipv6(address);
        text += fmt::format("iface {} {} static\n    address {}\n{}", link.name, ipv6 ? "inet6" : "inet",
                            address, options);
        options.clear();
        if (const std::string gateway = of_family(gateways, ipv6); !gateway.empty()) {
            text += "    gateway " + gateway + "\n";
            std::erase(gateways, gateway);
        }
    }
    return text;
}

// "source-directory" reads no name with a dot in it.
std::string interfaces_path(const WantedLink& link) {
    std::string leaf = "dupengine-" + link.name;
    std::replace(leaf.begin(), leaf.end(), '.', '_');
    return join(kInterfacesFolder, leaf);
}

std::string connection_family(const WantedLink& link, bool ipv6) {
    std::string text = ipv6 ? "\n[ipv6]\n" : "\n[ipv4]\n", servers;
    unsigned number = 0;
    for (const std::string& address : link.addresses)
        if (is_ipv6(address) == ipv6) text += fmt::format("address{}={}\n", ++number, address);
    text += line("gateway", of_family(link.gateways, ipv6));
    for (const std::string& server : link.dns)
        if (is_ipv6(server) == ipv6) servers += server + ";";
    const char* none = ipv6 ? "link-local" : "disabled";
    return text + line("method", link.dhcp ? "auto" : number > 0 ? "manual" : none) + line("dns", servers);
}

// nm-settings-keyfile(5)
std::string connection_text(const WantedLink& link, const NodeSecret& secret) {
    return fmt::format(
        "[connection]\nid=dupengine-{0}\nuuid={1}\ntype=ethernet\ninterface-name={0}\nautoconnect={2}\n"
        "autoconnect-priority=100\n\n[ethernet]\n{3}{4}{5}{6}",
        link.name, derive_guid(secret, "connection " + link.name).text(), link.up,
        line("cloned-mac-address", link.mac), line("mtu", mtu_of(link)), connection_family(link, false),
        connection_family(link, true));
}

bool is_enabled(const Tree& tree, const char* unit) {
    return !enabling_links(tree, {unit}).empty();
}

class Links {
  public:
    explicit Links(ItemContext& context) : context_(context), staged_(context.staged) {}

    void stage(const std::vector<WantedLink>& links) {
        if (!links.empty()) choose(links);
        for (const auto& [folder, prefix] :
             {std::pair{kNetworkd, "10-dupengine-"}, std::pair{kInterfacesFolder, "dupengine-"},
              std::pair{kConnections, "dupengine-"}})
            sweep(folder, prefix);
    }

  private:
    void choose(const std::vector<WantedLink>& links) {
        if (is_enabled(staged_, "systemd-networkd.service")) {
            for (const WantedLink& link : links)
                put(fmt::format("{}/10-dupengine-{}.network", kNetworkd, link.name), networkd_text(link),
                    0644);
        } else if (has_ifupdown(staged_)) {
            note_resolvers(links);
            for (const WantedLink& link : links) {
                take_out_of_interfaces(staged_, link.name);
                put(interfaces_path(link), interfaces_text(link), 0600);
            }
        } else if (is_enabled(staged_, "NetworkManager.service")) {
            for (const WantedLink& link : links)
                put(fmt::format("{}/dupengine-{}.nmconnection", kConnections, link.name),
                    connection_text(link, context_.secret), 0600);
        } else {
            throw_error(
                Code::kRefused,
                "the profile has the link {}, and nothing that is known here manages the copied system's "
                "network: neither systemd-networkd nor NetworkManager is enabled, and no "
                "/etc/network/interfaces reads its folder interfaces.d",
                links.front().name);
        }
    }

    void note_resolvers(const std::vector<WantedLink>& links) {
        const bool wanted =
            std::any_of(links.begin(), links.end(), [](const WantedLink& link) { return !link.dns.empty(); });
        const auto there = [&](const char* path) { return staged_.look(resolve(staged_, path)).exists(); };
        if (wanted && !there("/sbin/resolvconf") && !there("/usr/sbin/resolvconf"))
            context_.notes.emplace_back(
                "dns of the profile's links has no effect with ifupdown without resolvconf; let the role "
                "bring "
                "/etc/resolv.conf");
    }

    void put(const std::string& path, const std::string& text, unsigned mode) {
        wanted_.push_back(path);
        staged_.change("link", path, Node::file(text, mode), "", fmt::format("{} bytes", text.size()));
    }

    void sweep(const std::string& folder, const std::string& prefix) {
        for (const std::string& name : staged_.list(resolve(staged_, folder))) {
            const std::string path = join(folder, name);
            if (name.rfind(prefix, 0) == 0 && std::count(wanted_.begin(), wanted_.end(), path) == 0)
                staged_.change("link", path, {}, "of another role or node", "(none)");
        }
    }

    ItemContext& context_;
    Staged& staged_;
    std::vector<std::string> wanted_;
};

std::string mac_of(const Link& link, const NodeSecret& secret) {
    if (link.mac.mode == Mode::kSet) return link.mac.value;
    if (link.mac.mode == Mode::kIgnore) return {};
    if (link.mac.mode != Mode::kDerive) refuse_mode("mac", link.mac.mode);
    Bytes bytes = derive(secret, "mac " + link.name);
    // Locally administered, of one machine (IEEE 802, 8.2).
    bytes[0] = (bytes[0] & std::byte{0xfc}) | std::byte{0x02};
    std::string text;
    for (std::size_t i = 0; i < 6; ++i)
        text += fmt::format("{}{:02x}", i == 0 ? "" : ":", std::to_integer<unsigned>(bytes[i]));
    return text;
}

}  // namespace

std::vector<WantedLink> wanted_links(const Profile& profile, const NodeSecret& secret) {
    std::vector<WantedLink> wanted;
    for (const Link& link : profile.links)
        wanted.push_back({link.name, mac_of(link, secret), link.dhcp, link.addresses, link.gateways, link.dns,
                          link.mtu, link.up});
    return wanted;
}

void stage_links(ItemContext& context) {
    Links(context).stage(wanted_links(context.profile, context.secret));
}

}  // namespace dupengine::profiles
