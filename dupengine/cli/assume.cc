// dupengine assume: takes up the role offline on a copied system. See dupengine-assume(8).

#include "profiles/assume.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "bootloader_hooks/new_system.h"
#include "cli/command.h"
#include "cli/confirm.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "profiles/image_notes.h"
#include "profiles/merge.h"
#include "profiles/node_role.h"
#include "profiles/system/disk_system.h"
#include "profiles/system/folder_system.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;
using namespace dupengine::profiles;

struct Options {
    std::vector<std::string> disks;
    std::string root, store, root_partition, efivars;
    std::vector<std::string> role_folders, left_references, kept_partitions;
    bool undo = false;
};

// What is told in the end.
struct Report {
    std::string result, node, where;
    std::vector<Change> changes;
    std::vector<std::string> notes;
    double seconds = 0;
    bool is_counted = false;  // how often the system starts
};

StoredRole stored_role(const Options& options) {
    if (!options.store.empty()) return read_stored_role(options.store);
    if (options.disks.empty())
        throw_error(Code::kUsage, "--root needs --store: a folder has no profile partition");
    return find_own_role(options.disks);
}

// The copied system; `disks` is the same object, or null with --root.
struct Opened {
    std::unique_ptr<System> system;
    DiskSystem* disks = nullptr;
};

Opened open_system(const Options& options, CutUuid cut_uuid) {
    if (options.disks.empty()) return {std::make_unique<FolderSystem>(options.root), nullptr};
    auto system =
        std::make_unique<DiskSystem>(options.disks, DiskSystem::Options{cut_uuid, options.root_partition});
    DiskSystem* disks = system.get();
    return {std::move(system), disks};
}

ordered_json to_json(const Report& report) {
    ordered_json changes = ordered_json::array();
    for (const Change& change : report.changes)
        changes.push_back({{"item", change.item},
                           {"where", printable(change.where, Charset::kUtf8)},
                           {"before", printable(change.before, Charset::kUtf8)},
                           {"after", printable(change.after, Charset::kUtf8)}});
    ordered_json notes = ordered_json::array();
    for (const std::string& note : report.notes)
        notes.push_back(printable(note, Charset::kUtf8));
    return {{"result", report.result}, {"node", report.node}, {"where", report.where},
            {"changes", changes},      {"notes", notes},      {"seconds", report.seconds}};
}

void print_changes(const Report& report) {
    const Charset charset = look_at_terminal(STDOUT_FILENO).style.charset;
    std::string item;
    for (const Change& change : report.changes) {
        if (change.item != item) fmt::print("{}\n", printable(change.item, charset));
        item = change.item;
        fmt::print("  {}\n", printable(change.where, charset));
        if (!change.before.empty()) fmt::print("    - {}\n", printable(change.before, charset));
        fmt::print("    + {}\n", printable(change.after, charset));
    }
    for (const std::string& note : report.notes)
        fmt::print("note: {}\n", printable(note, charset));
}

void print_result(const Globals& globals, const Report& report) {
    if (globals.json)
        fmt::print("{}\n", to_json(report).dump(2, ' ', false, ordered_json::error_handler_t::replace));
    else
        fmt::print("{}: {} ({} changes, {:.1f} s)\n", report.where, report.result, report.changes.size(),
                   report.seconds);
}

// Shows what will be done; false: that was all that was wanted.
bool agree(const Globals& globals, Report& report) {
    if (!globals.json) print_changes(report);
    if (globals.dry_run) {
        report.result = "planned";
        return false;
    }
    std::fflush(stdout);
    if (!globals.yes) confirm_overwrite("the configuration on " + report.where);
    return true;
}

void undo(const Globals& globals, const Options& options, const NodeSecret& secret, System& system,
          Report& report) {
    AssumeOptions how;
    how.left_references = {options.left_references.begin(), options.left_references.end()};
    const UndoPlan plan = plan_undo(secret, system, how);
    report.node = plan.node;
    report.changes = plan.changes;
    report.notes.insert(report.notes.end(), plan.notes.begin(), plan.notes.end());
    if (!agree(globals, report)) return;
    undo_assume(secret, system, how);
    report.result = "undone";
}

void take_up(const Globals& globals, const Options& options, const Profile& profile, const NodeSecret& secret,
             const Opened& opened, Report& report) {
    System& system = *opened.system;
    SystemRandom random;
    AssumeOptions how;
    how.left_references = {options.left_references.begin(), options.left_references.end()};
    for (const std::string& given : options.kept_partitions)
        how.kept_partitions.insert(opened.disks->partition_named(given));
    const AssumePlan plan = plan_assume(profile, secret, system, random, how);
    report.changes = plan.changes;
    report.notes.insert(report.notes.end(), plan.notes.begin(), plan.notes.end());
    if (plan.empty()) {
        if (!globals.json) print_changes(report);
        report.result = "nothing to change";
        return;
    }
    if (!agree(globals, report)) return;
    const boot::Counted counted = boot::count_tries_of(profile.boot, options.efivars);
    if (!counted.text.empty()) {
        report.notes.push_back(counted.text);
        if (!globals.json) fmt::print("note: {}\n", counted.text);
    }
    apply_assume(plan, secret, system);
    report.is_counted = counted.is_counted;
    report.result = "role taken up";
}

// A machine without that note starts as well; it only cannot go back by itself.
void note_that_it_is_tried(const Globals& globals, const Options& options, Report& report) {
    for (const std::string& disk : options.disks)
        try {
            note_tried(disk);
        } catch (const Error& e) {
            report.notes.push_back(
                fmt::format("{}: that its version is tried could not be noted: {}", disk, e.what()));
            if (!globals.json) fmt::print("note: {}\n", report.notes.back());
        }
}

void ask(const Globals& globals, const std::string& what) {
    if (!globals.yes) confirm_overwrite(what);
}

// Before a change of a UUID that was cut is completed, the file system cannot be read.
CutUuid ask_about_cut_uuid(const Globals& globals, const Options& options) {
    if (options.disks.empty() || globals.dry_run) return CutUuid::kRefuse;
    const std::vector<std::string> cut = DiskSystem::cut_uuid_changes(options.disks);
    if (cut.empty()) return CutUuid::kRefuse;
    ask(globals, fmt::format("{}: an earlier run was cut while it changed the UUID of {}, which has "
                             "to be completed first; the file system",
                             joined(options.disks), joined(cut)));
    return CutUuid::kComplete;
}

// What is planned from a file system whose journal has not been replayed may be stale, and replaying writes.
void replay(const Globals& globals, DiskSystem& disks, Report& report) {
    if (globals.dry_run) {
        for (const std::string& partition : disks.unreplayed())
            report.notes.push_back(fmt::format(
                "{}: its journal has not been replayed yet, so this was read from before it", partition));
        return;
    }
    if (disks.unreplayed().empty()) return;
    ask(globals, fmt::format("{}: the journal of {} has to be replayed before a plan can be made; "
                             "the file system",
                             disks.name(), joined(disks.unreplayed())));
    disks.replay();
}

// A run that was cut comes first: finished, or, where undo is asked for or was under way, undone.
enum class Settled { kNothing, kSomething, kUndoneAsAsked };
Settled settle_pending(const Globals& globals, const Options& options, const NodeSecret& secret,
                       System& system, Report& report) {
    const Pending pending = find_pending(secret, system);
    if (pending == Pending::kNothing || (options.undo && pending == Pending::kFinish))
        return Settled::kNothing;
    const char* what = pending == Pending::kFinish ? "finished"
                       : pending == Pending::kUndo ? "undone"
                                                   : "cleaned up after";
    if (globals.dry_run && pending == Pending::kTidy) return Settled::kNothing;
    if (globals.dry_run)
        throw_error(Code::kRefused, "{}: an earlier run was cut; without --plan it will be {} first",
                    report.where, what);
    ask(globals,
        fmt::format("{}: an earlier run was cut and has to be {}; the configuration", report.where, what));
    report.node = node_here(secret, system);
    complete_pending(secret, system);
    report.notes.push_back(fmt::format("an earlier run was cut; it was {}", what));
    return pending == Pending::kUndo && options.undo ? Settled::kUndoneAsAsked : Settled::kSomething;
}

// Nothing has been written when it throws.
Profile merged_role(const Options& options, const StoredRole& stored, const Opened& opened,
                    const Report& report) {
    const auto folders = options.role_folders.empty() ? default_role_folders() : options.role_folders;
    try {
        return merge_role(stored, folders, opened.system->tree(), report.where);
    } catch (Error& e) {
        if (opened.disks != nullptr && !opened.disks->unreplayed().empty())
            e.add_context(fmt::format("read from before the journal of {}, which e2fsck -p replays",
                                      joined(opened.disks->unreplayed())));
        throw;
    }
}

int finish(const Globals& globals, Report& report, std::chrono::steady_clock::time_point begin) {
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    print_result(globals, report);
    return 0;
}

int run_assume(const Globals& globals, const Options& options) {
    const auto begin = std::chrono::steady_clock::now();
    if (options.disks.empty() && options.root.empty())
        throw_error(Code::kUsage, "say where the copied system is: --disk DISK or --root DIR");
    if (!options.kept_partitions.empty() && options.disks.empty())
        throw_error(Code::kUsage, "--keep-partition needs --disk: with --root no identifier changes");
    Report report;
    report.where = options.disks.empty() ? options.root : joined(options.disks);
    const StoredRole stored = stored_role(options);
    const NodeSecret& secret = stored.profile.secret;
    Opened opened = open_system(options, ask_about_cut_uuid(globals, options));
    // A bad role is refused before anything is written. What undo brings back is in the journal; a role that
    // is gone by now must not stand in its way.
    if (!options.undo) merged_role(options, stored, opened, report);
    require_disks(secret, *opened.system);
    if (opened.disks != nullptr) replay(globals, *opened.disks, report);
    const auto add_notes = [&] {
        if (opened.disks == nullptr) return;
        for (const std::string& note : opened.disks->notes())
            if (std::find(report.notes.begin(), report.notes.end(), note) == report.notes.end())
                report.notes.push_back(note);
    };
    const Settled settled = settle_pending(globals, options, secret, *opened.system, report);
    if (settled == Settled::kSomething) {
        add_notes();
        opened = {};
        opened = open_system(options, CutUuid::kRefuse);
    }
    add_notes();
    if (settled == Settled::kUndoneAsAsked) {
        report.result = "undone";
    } else if (options.undo) {
        undo(globals, options, secret, *opened.system, report);
    } else {
        const Profile profile = merged_role(options, stored, opened, report);
        report.node = profile.node;
        take_up(globals, options, profile, secret, opened, report);
        // The run that was cut counted.
        if (settled == Settled::kSomething && profile.boot.tries) report.is_counted = true;
    }
    opened = {};
    // After the count begins: a version that has not been tried is never one that failed.
    if (report.is_counted) note_that_it_is_tried(globals, options, report);
    return finish(globals, report, begin);
}

}  // namespace

void add_assume(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb =
        app.add_subcommand("assume", "Take up the role of the profile on a copied system that does not run");
    const auto options = std::make_shared<Options>();
    auto* disk =
        verb->add_option("--disk", options->disks,
                         "Block device or raw image file that holds the system; once for each of its disks")
            ->option_text("DISK")
            ->allow_extra_args(false);
    verb->add_option("--root", options->root,
                     "Folder where its root is mounted; identifiers of the disk stay")
        ->option_text("DIR")
        ->excludes(disk);
    verb->add_option(
            "--store", options->store,
            "Where the profile is: partition:DISK (default: the disk's own), file:PATH, memory:ADDRESS or "
            "efivar:")
        ->option_text("STORE");
    verb->add_option("--roles", options->role_folders,
                     "Folder of role files; may be repeated, the first has precedence")
        ->option_text("DIR")
        ->allow_extra_args(false);
    verb->add_option("--root-partition", options->root_partition,
                     "The partition that is the root (as --keep-partition)")
        ->option_text("PARTITION");
    verb->add_option(
            "--keep-partition", options->kept_partitions,
            "Leave the identifiers of this partition (number, DISK:NUMBER, PARTLABEL or PARTUUID); may be "
            "repeated")
        ->option_text("PARTITION")
        ->allow_extra_args(false);
    verb->add_option("--leave-reference", options->left_references,
                     "Accept a file that refers to an old identifier as it is; may be repeated")
        ->option_text("PATH")
        ->allow_extra_args(false);
    verb->add_option("--efivars", options->efivars,
                     "Where the variables of the firmware are that starts this system, to count its tries")
        ->option_text("DIR");
    verb->add_flag("--undo", options->undo, "Bring back what was there before the last run");
    verb->add_flag("--plan,--dry-run", globals.dry_run, "Show each change and stop: nothing is written");
    verb->add_flag("-y,--yes", globals.yes, "Do not ask before writing");
    add_json_option(*verb, globals);
    verb->callback(
        [options, &globals, &action] { action = [=, &globals] { return run_assume(globals, *options); }; });
}

}  // namespace dupengine::cli
