#include <algorithm>

#include "base/error.h"
#include "profiles/assume.h"
#include "profiles/assume_work.h"

namespace dupengine::profiles {
namespace {

void check_still_true(const AssumePlan& plan, System& system) {
    const auto changed = [&](const std::string& what) {
        throw_error(Code::kRefused,
                    "{}: {} has changed since the plan was made; nothing was written, run it again",
                    system.name(), what);
    };
    Staged renamed(system.tree());
    for (const RenameAction& rename : plan.renames) {
        if (!renamed.look(rename.from).exists()) changed(rename.from);
        renamed.rename(rename.from, rename.to);
    }
    for (const PutAction& put : plan.puts) {
        const Node there = renamed.take(put.path);
        if (put.before.exists() ? !there.same_as(put.before) : there.exists()) changed(put.path);
    }
    for (const IdentifierChange& change : plan.identifiers) {
        const Identifier* present = find_identifier(system, change);
        if (present == nullptr || present->value != change.before) changed(change.where);
    }
}

// On FAT, what is renamed goes through the journal. A rename inside a renamed folder finds nothing yet; its
// files are counted with that.
std::uint64_t bytes_to_save(const Tree& tree, const std::string& path) {
    if (tree.renames_whole(path)) return 0;
    std::uint64_t bytes = 0;
    if (const Node node = tree.look(path); node.kind == NodeKind::kFile) {
        if (node.size_bytes > Tree::kFileLimit)
            throw_error(Code::kRefused,
                        "{}: would be renamed, and is too large to be kept safe meanwhile ({} bytes); "
                        "--leave-reference PATH leaves its name as it is",
                        path, node.size_bytes);
        bytes += align_up(node.size_bytes, 4096);
    }
    for (const std::string& name : tree.list(path))
        bytes += bytes_to_save(tree, join(path, name));
    return bytes;
}

void check_room(const AssumePlan& plan, const NodeSecret& secret, System& system) {
    struct Need {
        std::string path;
        std::uint64_t growth = 0, largest = 0;
    };
    std::map<std::string, Need> needs;
    constexpr std::uint64_t kSlack = 256 * kKiB;  // folders, the journal's state, rounding to blocks
    // With --disk the journal is in the root file system, whatever is mounted above it.
    const bool joined = &system.root() == &system.tree();
    const std::string place = joined ? AssumeJournal(system, secret).folder() : "/";
    Need& journal = needs[system.file_system_of(place)];
    journal.path = place;
    for (const PutAction& put : plan.puts) {
        journal.growth += align_up(put.before.size_bytes, 4096) + align_up(put.after.size_bytes, 4096);
        Need& need = needs[system.file_system_of(put.path)];
        need.path = put.path;
        need.growth += put.after.size_bytes - std::min(put.after.size_bytes, put.before.size_bytes);
        need.largest = std::max(need.largest, put.after.size_bytes);
    }
    for (const RenameAction& rename : plan.renames)
        journal.growth += bytes_to_save(system.tree(), rename.from);
    for (const auto& [name, need] : needs) {
        const std::uint64_t wanted = need.growth + need.largest + kSlack;
        const std::uint64_t room = system.tree().free_bytes(need.path);
        if (room < wanted)
            throw_error(Code::kRefused,
                        "{}: the file system at {} has {} bytes free, and {} are needed; nothing was changed",
                        system.name(), name, room, wanted);
    }
}

}  // namespace

Pending find_pending(const NodeSecret& secret, System& system) {
    const AssumeJournal journal(system, secret);
    const auto record = journal.load();
    if (record) match_disks(*record, system);
    if (!record || record->phase == AssumePhase::kDone)
        return journal.has_leftovers() ? Pending::kTidy : Pending::kNothing;
    system.choose_mounts(record->mounts);
    return record->phase == AssumePhase::kApplying ? Pending::kFinish : Pending::kUndo;
}

void require_disks(const NodeSecret& secret, System& system) {
    if (const auto record = AssumeJournal(system, secret).load_ours()) match_disks(*record, system);
}

std::string node_here(const NodeSecret& secret, System& system) {
    const auto record = AssumeJournal(system, secret).load();
    return record ? record->node : std::string();
}

void apply_assume(const AssumePlan& plan, const NodeSecret& secret, System& system) {
    if (plan.empty()) return;
    system.open_for_writing(plan.identifiers);
    check_still_true(plan, system);
    check_room(plan, secret, system);
    AssumeJournal journal(system, secret);
    AssumeRecord record = journal.begin(plan);
    carry_out(system, journal, record, Begun::kNow);
}

void complete_pending(const NodeSecret& secret, System& system) {
    AssumeJournal journal(system, secret);
    std::optional<AssumeRecord> record = journal.load();
    if (!record || record->phase == AssumePhase::kDone) {
        if (!journal.has_leftovers()) return;
        system.open_for_writing({});
        journal.remove_leftovers();
        system.close();
        return;
    }
    refuse_without_disk(*record, system);
    match_disks(*record, system);
    system.choose_mounts(record->mounts);
    system.open_for_writing(record->identifiers);
    if (record->phase == AssumePhase::kApplying)
        carry_out(system, journal, *record, Begun::kBefore);
    else
        carry_back(system, journal, *record, Begun::kBefore);
}

}  // namespace dupengine::profiles
