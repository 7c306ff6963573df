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

// What became of a link: a word for programs, and a sentence, which early/work reads, too.
struct Outcome {
    const char* word;
    std::string text;
};

Outcome set_up(const profiles::WantedLink& link, bool dry_run) {
    const auto devices = machine::list_network_devices();
    const auto device = std::ranges::find(devices, link.name, &machine::NetworkDevice::name);
    if (device == devices.end()) return {"missing", "is not there"};
    if (machine::has_global_address(*device)) return {"kept", "has an address already, and keeps it"};
    const machine::LinkSettings settings{link.name, link.mac, link.addresses, link.gateways, link.mtu,
                                         link.up,   true};
    if (!dry_run) {
        machine::configure_link(settings);
        machine::raise_link(settings);
    }
    if (!link.up) return {"down", "stays down"};
    if (link.dhcp) return {"dhcp", "waits for DHCP"};
    if (link.addresses.empty()) return {"up", "is up, and the profile gives it no address"};
    return {"set", fmt::format("has {}", fmt::join(link.addresses, ", "))};
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
    std::optional<Error> refused;  // of the first; the others are tried all the same
    for (const profiles::WantedLink& link : links) {
        Outcome outcome{"refused", ""};
        try {
            outcome = set_up(link, globals.dry_run);
        } catch (const Error& e) {
            outcome.text = fmt::format("was not set up: {}", e.what());
            if (!refused) refused = e;
        }
        list.push_back({{"name", link.name}, {"outcome", outcome.word}, {"addresses", link.addresses}});
        text += fmt::format("{} {}\n", link.name, outcome.text);
    }
    const bool is_all_refused = refused && std::ranges::all_of(list, [](const ordered_json& link) {
                                    return link["outcome"] == "refused";
                                });
    if (is_all_refused) throw Error(*refused);
    if (!arguments.resolv_conf.empty() && !globals.dry_run) write_name_servers(arguments.resolv_conf, links);
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
