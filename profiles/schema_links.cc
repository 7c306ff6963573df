// Reads [[link]]: what a network interface is on a node.

#include <algorithm>
#include <array>

#include "profiles/names.h"
#include "profiles/schema_walk.h"

namespace dupengine::profiles {
namespace {

using Fault = std::string (*)(std::string_view);

std::vector<std::string> checked(SchemaWalk& walk, const TomlEntry& entry, Fault fault_of) {
    std::vector<std::string> good;
    for (const TomlEntry& one : walk.texts(entry)) {
        const std::string& text = one.value.text;
        const std::string fault = fault_of(text);
        if (!fault.empty())
            walk.complain(one.at, fmt::format("{} {} {}", entry.key, quoted(text), fault));
        else if (std::count(good.begin(), good.end(), text) != 0)
            walk.complain(one.at, fmt::format("{} {} is there twice", entry.key, quoted(text)));
        else
            good.push_back(text);
    }
    return good;
}

void read_mtu(SchemaWalk& walk, const TomlEntry& entry, Link& link) {
    constexpr std::uint64_t kLeast = 68, kMost = 65535;  // RFC 791; what a packet can be
    const auto number = walk.number(entry);
    if (!number) return;
    if (*number < kLeast || *number > kMost)
        return walk.complain(entry.value.at, fmt::format("mtu must be from {} to {}", kLeast, kMost));
    link.mtu = static_cast<unsigned>(*number);
}

bool read_key(SchemaWalk& walk, const TomlEntry& entry, Link& link) {
    if (entry.key == "name")
        link.name = walk.text(entry, kShortText).value_or("");
    else if (entry.key == "mac")
        read_item_into(walk, entry, link.mac, {Mode::kSet, Mode::kDerive, Mode::kIgnore}, mac_fault);
    else if (entry.key == "dhcp")
        link.dhcp = walk.boolean(entry).value_or(false);
    else if (entry.key == "up")
        link.up = walk.boolean(entry).value_or(true);
    else if (entry.key == "addresses")
        link.addresses = checked(walk, entry, prefixed_address_fault);
    else if (entry.key == "gateways")
        link.gateways = checked(walk, entry, address_fault);
    else if (entry.key == "dns")
        link.dns = checked(walk, entry, address_fault);
    else if (entry.key == "mtu")
        read_mtu(walk, entry, link);
    else
        return entry.key.starts_with("x-");
    return true;
}

bool is_ipv6(const std::string& address) {
    return address.find(':') != std::string::npos;
}

// What does not fit together, as the end of a sentence.
std::string fault_of(const Link& link) {
    if (const std::string fault = link_name_fault(link.name); !fault.empty()) return fault;
    if (link.dhcp && (!link.addresses.empty() || !link.gateways.empty()))
        return "has dhcp, so its addresses and gateways come from there";
    for (const std::string& gateway : link.gateways) {
        const auto same_family = [&](const std::string& text) { return is_ipv6(text) == is_ipv6(gateway); };
        if (std::none_of(link.addresses.begin(), link.addresses.end(), same_family))
            return fmt::format("has the gateway {} and no address of its kind", gateway);
        if (std::count_if(link.gateways.begin(), link.gateways.end(), same_family) > 1)
            return "has more than one gateway of a kind";
    }
    return {};
}

constexpr std::array<std::string_view, 8> kKeys = {"name",     "mac", "dhcp", "addresses",
                                                   "gateways", "dns", "mtu",  "up"};

}  // namespace

void read_links(SchemaWalk& walk, const TomlEntry& entry) {
    for (const TomlNode* table : walk.tables(entry)) {
        Link link;
        TomlPosition name_at = table->at;
        for (const TomlEntry& one : table->entries) {
            if (one.key == "name") name_at = one.value.at;
            if (read_key(walk, one, link)) continue;
            const std::string near = nearest_name(one.key, {kKeys.begin(), kKeys.end()});
            walk.complain(one.at, fmt::format("unknown key {} in [[link]]{}", quoted(one.key),
                                              near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
        }
        const std::string fault = fault_of(link);
        const std::string key = fmt::format("link[{}]", link.name);
        if (!fault.empty())
            walk.complain(name_at, fmt::format("link {} {}", quoted(link.name), fault));
        else if (walk.given().contains(key))
            walk.complain(name_at, fmt::format("link {} was given already", quoted(link.name)));
        else
            walk.profile().links.push_back(link);
        walk.note_given(key, name_at);
    }
}

void check_links_of_role(SchemaWalk& walk) {
    for (const Link& link : walk.profile().links)
        if (link.mac.mode == Mode::kSet || !link.addresses.empty())
            walk.complain(walk.given().at(fmt::format("link[{}]", link.name)).at,
                          fmt::format("link {} may have neither a MAC address nor addresses in a role: every "
                                      "node with this role would have the same",
                                      quoted(link.name)));
}

}  // namespace dupengine::profiles
