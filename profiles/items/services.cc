// [services]: units on, off and masked, by the symlinks that systemd reads at its next start.

#include <algorithm>

#include "base/error.h"
#include "profiles/items/item.h"
#include "profiles/items/unit_files.h"

namespace dupengine::profiles {
namespace {

[[noreturn]] void throw_missing(const Tree& tree, const std::string& name) {
    const std::string script = "/etc/init.d/" + name.substr(0, name.rfind('.'));
    if (tree.look(resolve(tree, script)).kind == NodeKind::kFile)
        throw_error(
            Code::kRefused,
            "the profile enables {}, which is a script of System V here ({}); only units can be enabled",
            name, script);
    throw_error(Code::kRefused,
                "the profile enables {}, but the copied system has no such unit; install it there or take it "
                "out of the role",
                name);
}

// Whether both lead to the same unit, whatever way (/lib or /usr/lib).
bool links_alike(const Tree& tree, const std::string& path, const std::string& target) {
    const Node there = tree.look(path);
    return there.kind == NodeKind::kLink && resolve(tree, path) == resolve(tree, target);
}

void enable(ItemContext& context, const std::string& name, std::vector<std::string>& done) {
    if (std::find(done.begin(), done.end(), name) != done.end()) return;
    done.push_back(name);
    Staged& staged = context.staged;
    const std::string mask = join(kUnitConfiguration, name);
    if (const Node node = staged.look(mask); node.kind == NodeKind::kLink && node.link_target == "/dev/null")
        staged.change("services", mask, {}, "masked", "not masked");
    const auto unit = find_unit(staged, name);
    if (!unit) throw_missing(staged, name);
    if (unit->masked)
        throw_error(Code::kRefused, "the profile enables {}, which the copied system's vendor masks ({})",
                    name, unit->path);
    const std::string own = unit->name.find("@.") == std::string::npos ? unit->name : name;
    const auto links = links_of(*unit, own);
    if (links.empty() && unit->install.also.empty())
        context.notes.push_back(name +
                                ": has no [Install], so it cannot be enabled; something else starts it");
    for (const auto& [path, target] : links) {
        if (links_alike(staged, path, target)) continue;
        if (staged.look(path).kind == NodeKind::kFile)
            throw_error(Code::kRefused, "{}: is a file, where enabling {} needs a symlink", path, name);
        staged.change("services", path, Node::link(target), "", "-> " + target);
    }
    for (const std::string& other : unit->install.also)
        enable(context, unit_name(other), done);
}

void disable(ItemContext& context, const std::string& name) {
    Staged& staged = context.staged;
    std::vector<std::string> names = {name};
    if (const auto unit = find_unit(staged, name)) {
        if (unit->name.find("@.") == std::string::npos) names.push_back(unit->name);
        for (const std::string& other : unit->install.also)
            names.push_back(unit_name(other));
    }
    for (const std::string& path : enabling_links(staged, names))
        staged.change("services", path, {}, "-> " + staged.look(path).link_target, "(none)");
    for (const char* folder : {"/usr/lib/systemd/system", "/usr/local/lib/systemd/system"})
        for (const std::string& path : enabling_links(staged, names, folder))
            context.notes.push_back(fmt::format(
                "{}: is not a matter of enabling, {} starts it; only a mask keeps it from that", name, path));
}

void mask(ItemContext& context, const std::string& name) {
    const std::string path = join(kUnitConfiguration, name);
    const Node there = context.staged.look(resolve(context.staged, path, LastLink::kKeep));
    if (there.exists() && !(there.kind == NodeKind::kLink && there.link_target == "/dev/null"))
        throw_error(Code::kRefused, "{}: exists, so the unit cannot be masked; disable it instead", path);
    context.staged.change("services", path, Node::link("/dev/null"), "", "masked");
}

}  // namespace

void stage_services(ItemContext& context) {
    const Services& services = context.profile.services;
    for (const std::string& name : services.disable)
        disable(context, unit_name(name));
    for (const std::string& name : services.mask)
        mask(context, unit_name(name));
    std::vector<std::string> done;
    for (const std::string& name : services.enable)
        enable(context, unit_name(name), done);
}

}  // namespace dupengine::profiles
