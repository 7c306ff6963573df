#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/digest.h"
#include "profiles/assume.h"
#include "profiles/assume_work.h"
#include "profiles/items/item.h"
#include "profiles/references/stage_references.h"

namespace dupengine::profiles {
namespace {

std::string short_label(const Node& node) {
    switch (node.kind) {
        case NodeKind::kAbsent:
            return "(none)";
        case NodeKind::kLink:
            return "-> " + node.link_target;
        case NodeKind::kFolder:
            return fmt::format("folder, mode {:04o}", node.mode);
        default:
            return "file";
    }
}

AssumeRecord require_record(const AssumeJournal& journal, const System& system) {
    std::optional<AssumeRecord> record = journal.load();
    if (!record)
        throw_error(Code::kRefused, "{}: no role was taken up here by this node, so there is nothing to undo",
                    system.name());
    return *record;
}

bool may_differ(const std::string& path) {
    return leaf_of(path) == "random-seed";  // the system itself renews it at every start
}

// Whether this is neither what was there nor what it was made into.
bool changed_since(const AssumeRecord& record, std::size_t i, const AssumeJournal& journal, System& system) {
    const PutAction& put = record.puts[i];
    const Node there = system.tree().take(put.path);
    if (may_differ(put.path) || there.same_as(journal.read_before(record, i))) return false;
    // What it was made into is known by its digest; the content itself is not kept.
    Node after = put.after;
    after.content = there.content;
    return !there.same_as(after) ||
           (there.content && to_hex(codec::sha256(as_bytes(*there.content))) != record.digests_after[i]);
}

void check_identifiers(const AssumeRecord& record, const System& system) {
    for (const IdentifierChange& change : record.identifiers) {
        const Identifier* present = find_identifier(system, change);
        if (present == nullptr || (present->value != change.after && present->value != change.before))
            throw_error(Code::kRefused,
                        "{}: {} was changed by somebody else since the role was taken up, so it is not known "
                        "what it should go back to; nothing was changed",
                        system.name(), change.where);
    }
}

// What was written since may know the new identifiers (fstab by hand, an initramfs by a new kernel), and
// would know nothing when they are gone.
void check_references(const AssumeRecord& record, const std::set<std::string>& changed, System& system,
                      const std::set<std::string>& accepted) {
    const IdentifierMap map = storage_references(turned(record.identifiers), system.partitions());
    Staged staged(system.tree());
    ReferenceScan scan{map, map, system.boot_folders(), accepted};
    const auto old_path = [&](std::string path) {
        for (std::size_t i = record.renames.size(); i-- > 0;)
            if (is_within(path, record.renames[i].to))
                path = record.renames[i].from + path.substr(record.renames[i].to.size());
        return path;
    };
    for (const PutAction& put : record.puts)
        if (!changed.contains(put.path)) scan.left.insert({put.path, old_path(put.path)});
    std::vector<std::string> ignored;
    std::string found;
    try {
        stage_references(staged, scan, ignored);
        for (const PutAction& put : staged.puts())
            found += (found.empty() ? "" : ", ") + put.path;
    } catch (const Error& e) {
        found = e.what();
    }
    if (!found.empty())
        throw_error(
            Code::kRefused,
            "{}: written since the role was taken up, and refers to identifiers that undo takes away: "
            "{}; nothing was changed (--leave-reference PATH accepts that)",
            system.name(), found);
}

// The files that somebody, or the system at its first start, has changed since: they stay.
std::set<std::string> what_stays(const AssumeRecord& record, const AssumeJournal& journal, System& system,
                                 const std::set<std::string>& accepted) {
    if (record.phase != AssumePhase::kDone) return record.left_alone;
    check_identifiers(record, system);
    std::set<std::string> changed;
    for (std::size_t i = 0; i < record.puts.size(); ++i)
        if (changed_since(record, i, journal, system)) changed.insert(record.puts[i].path);
    check_references(record, changed, system, accepted);
    return changed;
}

}  // namespace

UndoPlan plan_undo(const NodeSecret& secret, System& system, const AssumeOptions& options) {
    const AssumeJournal journal(system, secret);
    const AssumeRecord record = require_record(journal, system);
    refuse_without_disk(record, system);
    match_disks(record, system);
    system.choose_mounts(record.mounts);
    const std::set<std::string> stays = what_stays(record, journal, system, options.left_references);
    UndoPlan plan;
    plan.node = record.node;
    for (const IdentifierChange& change : turned(record.identifiers))
        plan.changes.push_back(
            {identifier_kind_name(change.kind), change.where, change.before, change.after});
    for (const RenameAction& rename : record.renames)
        plan.changes.push_back({"rename", rename.to, "", "renamed to " + rename.from});
    for (const PutAction& put : record.puts)
        if (stays.contains(put.path))
            plan.notes.push_back(put.path + ": was changed since the role was taken up; it stays as it is");
        else
            plan.changes.push_back(
                {"file", put.path, short_label(put.after),
                 short_label(put.before) + (put.before.kind == NodeKind::kFile ? " as it was" : "")});
    return plan;
}

void undo_assume(const NodeSecret& secret, System& system, const AssumeOptions& options) {
    AssumeJournal journal(system, secret);
    AssumeRecord record = require_record(journal, system);
    refuse_without_disk(record, system);
    match_disks(record, system);
    system.choose_mounts(record.mounts);
    system.open_for_writing(record.identifiers);
    record.left_alone = what_stays(record, journal, system, options.left_references);
    if (record.phase != AssumePhase::kDone) return carry_back(system, journal, record, Begun::kBefore);
    journal.save_for_the_way_back(record);
    carry_back(system, journal, record, Begun::kNow);
}

}  // namespace dupengine::profiles
