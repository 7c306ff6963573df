#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/digest.h"
#include "profiles/assume.h"
#include "profiles/assume_journal.h"

namespace dupengine::profiles {
namespace {

enum class Direction { kForward, kBack };

std::vector<IdentifierChange> turned(std::vector<IdentifierChange> changes) {
    for (IdentifierChange& change : changes)
        std::swap(change.before, change.after);
    std::reverse(changes.begin(), changes.end());
    return changes;
}

const Identifier* find_identifier(const System& system, const IdentifierChange& change) {
    for (const Identifier& identifier : system.identifiers())
        if (identifier.kind == change.kind && identifier.partition == change.partition) return &identifier;
    return nullptr;
}

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

// The work between the two states of the journal. Every step is left out if it was done before, so it can be
// begun again after a cut anywhere in it.
class Work {
  public:
    Work(System& system, AssumeJournal& journal, const AssumeRecord& record)
        : system_(system), journal_(journal), record_(record) {}

    void files(Direction direction) {
        Tree& tree = system_.tree();
        // On the way back too: the files are known by their new paths, and a cut may have left any of them
        // half-way.
        for (const RenameAction& rename : record_.renames)
            move(tree, rename.from, rename.to);
        if (direction == Direction::kForward) {
            for (std::size_t i = 0; i < record_.puts.size(); ++i)
                settle(tree, i, journal_.read_after(record_, i));
            return;
        }
        for (std::size_t i = record_.puts.size(); i-- > 0;)
            settle(tree, i, journal_.read_before(record_, i));
        for (std::size_t i = record_.renames.size(); i-- > 0;)
            move(tree, record_.renames[i].to, record_.renames[i].from);
    }

    void identifiers(Direction direction) {
        if (record_.identifiers.empty()) return;
        system_.set_identifiers(direction == Direction::kForward ? record_.identifiers
                                                                 : turned(record_.identifiers));
        system_.choose_mounts(record_.mounts);
    }

  private:
    void move(Tree& tree, const std::string& from, const std::string& to) {
        if (tree.look(from).exists() && !tree.look(to).exists()) tree.rename(from, to);
    }

    void settle(Tree& tree, std::size_t i, const Node& wanted) {
        const std::string& path = record_.puts[i].path;
        tree.sweep(parent_of(path));
        const Node there = tree.take(path);
        if (wanted.exists() ? there.same_as(wanted) : !there.exists()) return;
        // A folder that the role made and somebody has put files into since: theirs stay, and so does it.
        if (!wanted.exists() && there.kind == NodeKind::kFolder && !tree.list(path).empty()) return;
        tree.put(path, wanted);
    }

    System& system_;
    AssumeJournal& journal_;
    const AssumeRecord& record_;
};

// Once the journal is there, an error leaves a system that the next run knows how to go on with.
template <typename Steps>
void half_way(const System& system, Steps steps) {
    try {
        steps();
    } catch (Error& e) {
        e.add_context(system.name() + ": stopped half-way (the same command finishes it, --undo goes back)");
        throw;
    }
}

void carry_out(System& system, AssumeJournal& journal, AssumeRecord& record) {
    half_way(system, [&] {
        Work work(system, journal, record);
        work.files(Direction::kForward);
        work.identifiers(Direction::kForward);
        journal.finish(record);
        system.close();
    });
}

void carry_back(System& system, AssumeJournal& journal, AssumeRecord& record) {
    half_way(system, [&] {
        if (record.phase != AssumePhase::kUndone) {
            journal.set_phase(record, AssumePhase::kUndoing);
            Work work(system, journal, record);
            work.files(Direction::kBack);
            work.identifiers(Direction::kBack);
            journal.set_phase(record, AssumePhase::kUndone);
        }
        journal.erase(record);
        system.close();
    });
}

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

void check_room(const AssumePlan& plan, System& system) {
    struct Need {
        std::string path;
        std::uint64_t growth = 0, largest = 0;
    };
    std::map<std::string, Need> needs;
    constexpr std::uint64_t kSlack = 256 * kKiB;  // folders, the journal's state, rounding to blocks
    Need& journal = needs[system.file_system_of("/")];
    journal.path = "/";
    for (const PutAction& put : plan.puts) {
        journal.growth += align_up(put.before.size_bytes, 4096) + align_up(put.after.size_bytes, 4096);
        Need& need = needs[system.file_system_of(put.path)];
        need.path = put.path;
        need.growth += put.after.size_bytes - std::min(put.after.size_bytes, put.before.size_bytes);
        need.largest = std::max(need.largest, put.after.size_bytes);
    }
    for (const auto& [name, need] : needs) {
        const std::uint64_t wanted = need.growth + need.largest + kSlack;
        const std::uint64_t room = system.tree().free_bytes(need.path);
        if (room < wanted)
            throw_error(Code::kRefused,
                        "{}: the file system at {} has {} bytes free, and {} are needed; nothing was changed",
                        system.name(), name, room, wanted);
    }
}

AssumeRecord require_record(const AssumeJournal& journal, const System& system) {
    std::optional<AssumeRecord> record = journal.load();
    if (!record)
        throw_error(Code::kRefused, "{}: no role was taken up here by this node, so there is nothing to undo",
                    system.name());
    return *record;
}

// A run with --disk is neither finished nor undone on a mounted folder alone: references would speak of
// identifiers that nobody changes.
void refuse_without_disk(const AssumeRecord& record, const System& system) {
    if ((!record.identifiers.empty() || !record.mounts.empty()) && !system.reaches_storage())
        throw_error(
            Code::kRefused,
            "{}: the role was taken up with --disk, identifiers and boot partitions included; do this with "
            "--disk, too",
            system.name());
}

bool may_differ(const std::string& path) {
    return leaf_of(path) == "random-seed";  // the system itself renews it at every start
}

void check_undo(const AssumeRecord& record, const AssumeJournal& journal, System& system) {
    if (record.phase != AssumePhase::kDone) return;
    std::string changed;
    const auto add = [&](const std::string& what) { changed += (changed.empty() ? "" : ", ") + what; };
    for (std::size_t i = 0; i < record.puts.size(); ++i) {
        const PutAction& put = record.puts[i];
        const Node there = system.tree().take(put.path);
        if (may_differ(put.path) || there.same_as(journal.read_before(record, i))) continue;
        // What it was made into is known by its digest; the content itself is not kept.
        Node after = put.after;
        after.content = there.content;
        const bool same_bytes =
            !there.content || to_hex(codec::sha256(as_bytes(*there.content))) == record.digests_after[i];
        if (!there.same_as(after) || !same_bytes) add(put.path);
    }
    for (const IdentifierChange& change : record.identifiers) {
        const Identifier* present = find_identifier(system, change);
        if (present == nullptr || (present->value != change.after && present->value != change.before))
            add(change.where);
    }
    if (!changed.empty())
        throw_error(Code::kRefused,
                    "{}: changed by somebody else since the role was taken up: {}; undo would lose that, so "
                    "nothing was changed",
                    system.name(), changed);
}

}  // namespace

Pending find_pending(const NodeSecret& secret, System& system) {
    const auto record = AssumeJournal(system, secret).load();
    if (!record || record->phase == AssumePhase::kDone) return Pending::kNothing;
    system.choose_mounts(record->mounts);
    return record->phase == AssumePhase::kApplying ? Pending::kFinish : Pending::kUndo;
}

void apply_assume(const AssumePlan& plan, const NodeSecret& secret, System& system) {
    if (plan.empty()) return;
    system.open_for_writing(plan.identifiers);
    check_still_true(plan, system);
    check_room(plan, system);
    AssumeJournal journal(system, secret);
    AssumeRecord record = journal.begin(plan);
    carry_out(system, journal, record);
}

void complete_pending(const NodeSecret& secret, System& system) {
    AssumeJournal journal(system, secret);
    std::optional<AssumeRecord> record = journal.load();
    if (!record || record->phase == AssumePhase::kDone) return;
    refuse_without_disk(*record, system);
    system.choose_mounts(record->mounts);
    system.open_for_writing(record->identifiers);
    if (record->phase == AssumePhase::kApplying)
        carry_out(system, journal, *record);
    else
        carry_back(system, journal, *record);
}

std::vector<Change> plan_undo(const NodeSecret& secret, System& system) {
    const AssumeJournal journal(system, secret);
    const AssumeRecord record = require_record(journal, system);
    refuse_without_disk(record, system);
    system.choose_mounts(record.mounts);
    check_undo(record, journal, system);
    std::vector<Change> changes;
    for (const IdentifierChange& change : turned(record.identifiers))
        changes.push_back({identifier_kind_name(change.kind), change.where, change.before, change.after});
    for (const RenameAction& rename : record.renames)
        changes.push_back({"rename", rename.to, "", "renamed to " + rename.from});
    for (const PutAction& put : record.puts)
        changes.push_back(
            {"file", put.path, short_label(put.after),
             short_label(put.before) + (put.before.kind == NodeKind::kFile ? " as it was" : "")});
    return changes;
}

void undo_assume(const NodeSecret& secret, System& system) {
    AssumeJournal journal(system, secret);
    AssumeRecord record = require_record(journal, system);
    refuse_without_disk(record, system);
    system.choose_mounts(record.mounts);
    system.open_for_writing(record.identifiers);
    check_undo(record, journal, system);
    carry_back(system, journal, record);
}

}  // namespace dupengine::profiles
