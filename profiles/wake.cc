#include "profiles/wake.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "profiles/assume.h"
#include "profiles/items/interfaces_file.h"
#include "profiles/items/item.h"
#include "profiles/items/unit_files.h"
#include "profiles/store.h"
#include "profiles/system/running_system.h"

namespace dupengine::profiles {
namespace {

StoredRole read_woken_store(const std::string& store, const block::Media& media) {
    check_wake_store(store);
    const StoreSpec spec = parse_store_spec(store);
    return spec.kind == StoreSpec::Kind::kPartition ? read_role_from_medium(spec.path, media)
                                                    : read_stored_role(store);
}

void add_notes(std::vector<std::string>& notes, const std::vector<std::string>& more) {
    for (const std::string& note : more)
        if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
}

// True if there was something, after which the system has to be looked at anew.
bool complete_what_was_cut(const NodeSecret& secret, System& system, std::vector<std::string>& notes) {
    const Pending pending = find_pending(secret, system);
    if (pending == Pending::kNothing) return false;
    const char* how = pending == Pending::kFinish ? "finished"
                      : pending == Pending::kUndo ? "undone"
                                                  : "cleaned up after";
    complete_pending(secret, system);
    notes.push_back(fmt::format("an earlier run was cut; it was {}", how));
    return true;
}

// As the file says it, a domain included: that is what the system itself sets at its next start.
std::string set_host_name(const Profile& profile) {
    if (profile.hostname.mode != Mode::kSet && profile.hostname.mode != Mode::kDerive) return {};
    const bool is_given = profile.hostname.mode == Mode::kSet && !profile.hostname.value.empty();
    const std::string name = is_given ? profile.hostname.value : profile.node;
    if (::sethostname(name.c_str(), name.size()) != 0)
        throw_errno(Code::kTargetIo, errno, "the kernel does not take the host name '{}'", name);
    return name;
}

bool touches(const std::vector<Change>& changes, std::string_view item, const std::string& folder = "/") {
    return std::any_of(changes.begin(), changes.end(), [&](const Change& change) {
        return change.item == item && (folder == "/" || is_within(change.where, folder));
    });
}

// What goes on with what it read before.
void note_memory(const std::vector<Change>& changes, std::vector<std::string>& notes) {
    if (touches(changes, "machine_id"))
        notes.emplace_back(
            "machine-id: systemd, its journal and D-Bus have the source's in memory until they start again; "
            "the "
            "journal goes on in the folder of the old one");
    if (touches(changes, "hostname"))
        notes.emplace_back("hostname: a program that asked for it before goes on with the source's");
}

// What every role would be stopped by.
std::vector<std::string> obstacles_to_roles(RunningSystem& system, const std::string& root) {
    std::vector<std::string> obstacles;
    for (const Unsearchable& part : system.unsearchable())
        obstacles.push_back(
            fmt::format("{} is {}; references in there could not be rewritten", part.path, part.why));
    std::vector<std::string> places = {"/"};
    for (const MountPoint& mount : system.mounts())
        places.push_back(mount.path);
    for (const std::string& place : places) {
        struct statvfs state {};
        if (::statvfs((root == "/" ? place : root + place).c_str(), &state) == 0 &&
            (state.f_flag & ST_RDONLY) != 0)
            obstacles.push_back(place + " is mounted read-only");
    }
    return obstacles;
}

}  // namespace

void check_wake_store(const std::string& store) {
    const StoreSpec::Kind kind = parse_store_spec(store).kind;
    // What is in a file of this system is the source's, whatever it was called; which variables there are the
    // system was told by the source's firmware.
    if (kind == StoreSpec::Kind::kFile || kind == StoreSpec::Kind::kVariables)
        throw_error(Code::kRefused,
                    "{}: a system that wakes up has its source's files and variables; partition:DISK and "
                    "memory:ADDRESS are the machine's own",
                    store);
}

void refuse_if_it_could_not_wake(const std::vector<std::string>& disks, const std::string& root) {
    try {
        RunningSystem system(disks, {root});
        if (const auto obstacles = obstacles_to_roles(system, root); !obstacles.empty())
            throw_error(Code::kRefused, "{}", fmt::join(obstacles, "; "));
    } catch (Error& e) {
        e.add_context("a duplicate of this system with its memory could not become anybody else");
        throw;
    }
}

WakeRole read_wake_role(const WakeRequest& request) {
    if (request.disks.empty()) throw_error(Code::kUsage, "no disk is named on which the system runs");
    WakeRole role;
    role.stored = request.store.empty() ? find_role_on_media(request.disks, request.media)
                                        : read_woken_store(request.store, request.media);
    RunningSystem system(request.disks, {request.root, request.media});
    role.profile = merge_role(role.stored, request.role_folders, system.tree(), system.name());
    role.links = wanted_links(role.profile, role.stored.profile.secret);
    return role;
}

WakeReport take_up_role(const WakeRequest& request, const WakeRole& role, RandomSource& random) {
    const NodeSecret& secret = role.stored.profile.secret;
    WakeReport report;
    report.node = role.profile.node;
    report.roles = role.profile.roles;
    report.generation = role.profile.generation;
    auto system =
        std::make_unique<RunningSystem>(request.disks, RunningSystem::Options{request.root, request.media});
    if (complete_what_was_cut(secret, *system, report.notes))
        system = std::make_unique<RunningSystem>(request.disks,
                                                 RunningSystem::Options{request.root, request.media});
    AssumeOptions options;
    options.left_references = request.left_references;
    const AssumePlan plan = plan_assume(role.profile, secret, *system, random, options);
    report.changes = plan.changes;
    add_notes(report.notes, system->notes());
    add_notes(report.notes, plan.notes);
    apply_assume(plan, secret, *system);
    report.host_name = set_host_name(role.profile);
    note_memory(report.changes, report.notes);
    report.calls = calls_after_thaw(role.profile, system->tree(), report.changes);
    report.network_calls = network_calls(role.profile, system->tree());
    report.calls_when_up = calls_when_up(role.profile, system->tree());
    return report;
}

std::vector<std::vector<std::string>> calls_after_thaw(const Profile& profile, const Tree& tree,
                                                       const std::vector<Change>& changes) {
    std::vector<std::vector<std::string>> calls;
    const auto call = [&](const char* verb, const std::string& unit) {
        calls.push_back({"systemctl", "--no-block", verb, unit});
    };
    // Stopped before the reload: of a unit that is masked then, systemd would not know any more how.
    for (const auto* units : {&profile.services.disable, &profile.services.mask})
        for (const std::string& name : *units)
            if (find_unit(tree, unit_name(name))) call("stop", unit_name(name));
    const bool units_changed = touches(changes, "services") || touches(changes, "references") ||
                               touches(changes, "file", kUnitConfiguration);
    if (units_changed) calls.push_back({"systemctl", "daemon-reload"});
    for (const std::string& name : profile.services.enable)
        call("start", unit_name(name));
    if (touches(changes, "ssh_host_keys"))
        for (const char* unit : {"ssh.service", "sshd.service"})
            if (find_unit(tree, unit)) {
                call("try-restart", unit);
                break;  // one is the alias of the other
            }
    return calls;
}

std::vector<std::vector<std::string>> network_calls(const Profile& profile, const Tree& tree) {
    std::vector<std::vector<std::string>> calls;
    for (const std::string unit : {"systemd-networkd.service", "NetworkManager.service"}) {
        const auto file = find_unit(tree, unit);
        if (!file) continue;
        const bool is_turned_off =
            std::any_of(profile.services.disable.begin(), profile.services.disable.end(),
                        [&](const std::string& name) { return unit_name(name) == unit; });
        // One that does not run does not begin to. systemd refuses to restart what is masked.
        calls.push_back({"systemctl", file->masked || is_turned_off ? "stop" : "try-restart", unit});
    }
    return calls;
}

std::vector<std::vector<std::string>> calls_when_up(const Profile& profile, const Tree& tree) {
    std::vector<std::vector<std::string>> calls;
    if (!enabling_links(tree, {"systemd-networkd.service"}).empty() || !has_ifupdown(tree)) return calls;
    for (const Link& link : profile.links)
        if (link.dhcp && link.up) calls.push_back({"ifup", "--force", link.name});
    return calls;
}

}  // namespace dupengine::profiles
