// dupengine boot: failed, report; and what confirm notes. Of the image that a machine starts: whether it came
// up, and who is told. See dupengine-boot(8).

#include "cli/boot_image.h"

#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "bootloader_hooks/new_system.h"
#include "cli/boot_start.h"
#include "cli/image_options.h"
#include "cli/interrupt.h"
#include "image/web_server.h"
#include "machine/disks_in_use.h"
#include "profiles/image_notes.h"
#include "profiles/node_role.h"
#include "profiles/store.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;
using Entry = profiles::ImageHistory::Entry;

// Of the small system and of systems that were given one by their profile.
constexpr const char* kOwnAuthorities = "/etc/dupengine/ca.pem";

struct Arguments {
    std::vector<std::string> disks;
    std::string efivars, to;
    image::WebOptions web;
};

// One of the system that runs, without --disk.
std::vector<std::string> find_disks(const std::vector<std::string>& given) {
    return given.empty() ? machine::find_disks_in_use() : given;
}

std::string name_of(const Entry& image) {
    return fmt::format("{}@{}", image.name, image.version);
}

void print(const Globals& globals, ordered_json json, const std::string& text) {
    json["result"] = "ok";
    fmt::print("{}\n",
               globals.json ? json.dump(2, ' ', false, ordered_json::error_handler_t::replace) : text);
}

int run_failed(const Globals& globals, const Arguments& arguments) {
    const bool is_used_up = boot::are_tries_used_up(arguments.efivars);
    std::vector<std::string> failed;
    if (is_used_up)
        for (const std::string& disk : find_disks(arguments.disks))
            if (const auto image = profiles::note_failed(disk)) failed.push_back(name_of(*image));
    const std::string text = !failed.empty() ? fmt::format("{} did not come up, and has no tries left: noted",
                                                           fmt::join(failed, ", "))
                             : is_used_up    ? "no tries are left, and there is nothing new to note"
                                             : "no tries were used up";
    print(globals, {{"used_up", is_used_up}, {"failed", failed}}, text);
    return 0;
}

const char* state_of(const Entry& image) {
    if (image.is_bad(image.version)) return "failed";
    // One that came up once and was put back is tried anew.
    return image.came_up == image.version && image.tried != image.version ? "healthy" : "new";
}

ordered_json version_or_null(std::uint64_t version) {
    return version == 0 ? ordered_json() : ordered_json(version);
}

// What the server is told, as dupengine-boot(8) describes it.
ordered_json make_report(const std::string& node, std::uint64_t generation,
                         const std::optional<Entry>& image) {
    ordered_json report = {{"schema", 1}, {"node", node}, {"generation", generation}};
    if (!image) return report;
    report["image"] = image->name;
    report["version"] = image->version;
    report["state"] = state_of(*image);
    report["copied"] = image->when;
    report["came_up"] = version_or_null(image->came_up);
    report["failed"] = version_or_null(image->failed);
    return report;
}

std::string in_words(const std::string& node, const std::optional<Entry>& image) {
    if (!image) return fmt::format("{} has no image that it remembers", node);
    const bool had_worse = image->failed != 0 && image->failed != image->version;
    return fmt::format("{} has {}, {}{}", node, name_of(*image), state_of(*image),
                       had_worse ? fmt::format("; version {} failed", image->failed) : "");
}

std::optional<Entry> first_image(const std::vector<std::string>& disks) {
    for (const std::string& disk : disks)
        if (auto image = profiles::last_image(disk)) return image;
    return std::nullopt;
}

int run_report(const Globals& globals, const Arguments& arguments) {
    const std::vector<std::string> disks = find_disks(arguments.disks);
    const profiles::StoredRole stored = profiles::find_own_role(disks);
    const profiles::Profile node = profiles::load_node(stored.profile, stored.store).profile;
    const auto image = first_image(disks);
    const ordered_json report = make_report(node.node, stored.profile.generation, image);
    const std::string words = in_words(node.node, image);
    const std::string to = arguments.to.empty() ? node.boot.report_to : arguments.to;
    if (to.empty() || globals.dry_run) {
        print(globals, {{"told", nullptr}, {"report", report}},
              words + (to.empty() ? "; the profile names nobody who is to be told ([boot] report_to)" : ""));
        return 0;
    }
    image::WebOptions web = arguments.web;
    if (web.ca_file.empty() && ::access(kOwnAuthorities, R_OK) == 0) web.ca_file = kOwnAuthorities;
    const InterruptWatch interrupt;
    image::WebServer server(to, web);
    server.set_stop(interrupt.token());
    image::WebClient client(web, [&] { return server.is_stopped(); });
    server.put(client, node.node + ".json", report.dump() + "\n");
    print(globals, {{"told", server.name()}, {"report", report}},
          fmt::format("told {}: {}", server.name(), words));
    return 0;
}

}  // namespace

std::string note_that_it_came_up(const std::vector<std::string>& disks) {
    std::vector<std::string> noted;
    for (const std::string& disk : find_disks(disks))
        if (const auto image = profiles::note_came_up(disk)) noted.push_back(name_of(*image));
    return fmt::format("{}", fmt::join(noted, ", "));
}

void add_boot_image(CLI::App& boot, Globals& globals, Action& action) {
    const auto arguments = std::make_shared<Arguments>();
    const auto add = [&](const char* name, const char* description,
                         int (*run)(const Globals&, const Arguments&)) -> CLI::App& {
        CLI::App& verb = *boot.add_subcommand(name, description);
        verb.add_option("--disk", arguments->disks,
                        "The disk of the system, instead of those that this one runs from; may be repeated")
            ->option_text("DISK")
            ->allow_extra_args(false);
        add_json_option(verb, globals);
        verb.callback([&globals, &action, arguments, run] {
            action = [&globals, arguments, run] { return run(globals, *arguments); };
        });
        return verb;
    };
    add("failed", "Note that a system did not come up, if it has no tries left", run_failed)
        .add_option("--efivars", arguments->efivars, "Where the variables of the firmware are")
        ->option_text("DIR");
    CLI::App& report =
        add("report", "Tell a web server which image is here, and whether it came up", run_report);
    report.add_option("--to", arguments->to, "A folder on a web server, instead of the one in the profile")
        ->option_text("ADDRESS");
    add_web_options(report, arguments->web);
    report.add_flag("--dry-run", globals.dry_run, "Show what it would be told");
}

}  // namespace dupengine::cli
