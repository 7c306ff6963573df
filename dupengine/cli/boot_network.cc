// dupengine boot network: a small system's links, as the profile of its machine says. See dupengine-boot(8).

#include <memory>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "cli/boot_start.h"
#include "machine/disks_in_use.h"
#include "machine/links.h"
#include "profiles/items/item.h"
#include "profiles/merge.h"
#include "profiles/node_role.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
    std::vector<std::string> disks, role_folders;
    std::string resolv_conf;
};

// What became of a link. The words are read by early/work, too.
enum class Outcome { kSet, kAsksDhcp, kHadAddress, kDown, kMissing };

const char* word_of(Outcome outcome) {
    switch (outcome) {
        case Outcome::kSet:
            return "set";
        case Outcome::kAsksDhcp:
            return "dhcp";
        case Outcome::kHadAddress:
            return "kept";
        case Outcome::kDown:
            return "down";
        case Outcome::kMissing:
            return "missing";
    }
    return "";
}

std::string in_words(const profiles::WantedLink& link, Outcome outcome) {
    switch (outcome) {
        case Outcome::kSet:
            return fmt::format("has {}", fmt::join(link.addresses, ", "));
        case Outcome::kAsksDhcp:
            return "waits for DHCP";
        case Outcome::kHadAddress:
            return "has an address already, and keeps it";
        case Outcome::kDown:
            return "stays down";
        case Outcome::kMissing:
            return "is not there";
    }
    return "";
}

Outcome set_up(const profiles::WantedLink& link, bool dry_run) {
    const auto devices = machine::list_network_devices();
    const auto device = std::ranges::find(devices, link.name, &machine::NetworkDevice::name);
    if (device == devices.end()) return Outcome::kMissing;
    if (machine::has_global_address(*device)) return Outcome::kHadAddress;
    const machine::LinkSettings settings{link.name, link.mac, link.addresses, link.gateways, link.mtu,
                                         link.up,   true};
    if (!dry_run) {
        machine::configure_link(settings);
        machine::raise_link(settings);
    }
    return !link.up ? Outcome::kDown : link.dhcp ? Outcome::kAsksDhcp : Outcome::kSet;
}

// resolv.conf(5)
void write_name_servers(const std::string& path, const std::vector<profiles::WantedLink>& links) {
    std::string text;
    for (const profiles::WantedLink& link : links)
        for (const std::string& server : link.dns)
            text += fmt::format("nameserver {}\n", server);
    if (!text.empty()) write_file_atomic(path, as_bytes(text), 0644, Code::kTargetIo);
}

int run_network(const Globals& globals, const Arguments& arguments) {
    const auto disks = arguments.disks.empty() ? machine::find_disks_in_use() : arguments.disks;
    const auto folders =
        arguments.role_folders.empty() ? profiles::default_role_folders() : arguments.role_folders;
    const profiles::StoredRole stored = profiles::find_own_role(disks);
    std::vector<std::string> left_out;
    const profiles::Profile profile = profiles::merge_role_here(stored, folders, left_out);
    const auto links = profiles::wanted_links(profile, stored.profile.secret);
    ordered_json list = ordered_json::array();
    std::string text;
    std::optional<Error> first;  // the other links are tried all the same
    for (const profiles::WantedLink& link : links)
        try {
            const Outcome outcome = set_up(link, globals.dry_run);
            list.push_back(
                {{"name", link.name}, {"outcome", word_of(outcome)}, {"addresses", link.addresses}});
            text += fmt::format("{} {}\n", link.name, in_words(link, outcome));
        } catch (const Error& e) {
            if (!first) first = e;
        }
    if (!arguments.resolv_conf.empty() && !globals.dry_run) write_name_servers(arguments.resolv_conf, links);
    if (first) throw Error(*first);
    for (const std::string& role : left_out)
        text += fmt::format("(the role {} is not here; links that it may have are not known)\n", role);
    if (links.empty()) text += fmt::format("(the profile of {} names no links)\n", profile.node);
    const ordered_json document = {
        {"node", profile.node}, {"links", list}, {"roles_left_out", left_out}, {"result", "ok"}};
    fmt::print("{}", globals.json
                         ? document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n"
                         : text);
    return 0;
}

}  // namespace

void add_boot_network(CLI::App& boot, Globals& globals, Action& action) {
    const auto arguments = std::make_shared<Arguments>();
    CLI::App& verb = *boot.add_subcommand(
        "network", "Give links without an address what the profile says, in a system that has no network");
    verb.add_option("--disk", arguments->disks,
                    "The disk with the profile, instead of those that this system runs from; may be repeated")
        ->option_text("DISK")
        ->allow_extra_args(false);
    verb.add_option("--roles", arguments->role_folders, "A folder with roles; may be repeated")
        ->option_text("DIR")
        ->allow_extra_args(false);
    verb.add_option("--resolv-conf", arguments->resolv_conf,
                    "Write the profile's name servers there (/etc/resolv.conf), if it has some")
        ->option_text("FILE");
    add_json_option(verb, globals);
    verb.add_flag("--dry-run", globals.dry_run, "Show what would become of them");
    verb.callback([&globals, &action, arguments] {
        action = [&globals, arguments] { return run_network(globals, *arguments); };
    });
}

}  // namespace dupengine::cli
