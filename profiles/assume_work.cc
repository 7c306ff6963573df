#include "profiles/assume_work.h"

#include <algorithm>

#include "base/error.h"
#include "profiles/assume_mend.h"

namespace dupengine::profiles {

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

namespace {

enum class Direction { kForward, kBack };

class Work {
  public:
    Work(System& system, AssumeJournal& journal, const AssumeRecord& record)
        : system_(system), journal_(journal), record_(record) {}

    void files(Direction direction, Begun begun) {
        Tree& tree = system_.tree();
        if (begun == Begun::kBefore) mend(tree);
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
            if (!record_.left_alone.contains(record_.puts[i].path))
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
    // An earlier rename may bring the place of a later one.
    void mend(Tree& tree) {
        auto saved = record_.saved.begin();
        for (std::size_t i = 0; i < record_.renames.size(); ++i)
            if (saved != record_.saved.end() && saved->rename == i)
                mend_rename(tree, journal_, record_, *saved++);
            else
                move(tree, record_.renames[i].from, record_.renames[i].to);
    }

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

}  // namespace

void carry_out(System& system, AssumeJournal& journal, AssumeRecord& record, Begun begun) {
    half_way(system, [&] {
        Work work(system, journal, record);
        work.files(Direction::kForward, begun);
        work.identifiers(Direction::kForward);
        journal.finish(record);
        system.close();
    });
}

void carry_back(System& system, AssumeJournal& journal, AssumeRecord& record, Begun begun) {
    half_way(system, [&] {
        if (record.phase != AssumePhase::kUndone) {
            journal.set_phase(record, AssumePhase::kUndoing);
            Work work(system, journal, record);
            work.files(Direction::kBack, begun);
            work.identifiers(Direction::kBack);
            journal.set_phase(record, AssumePhase::kUndone);
        }
        journal.erase(record);
        system.close();
    });
}

void match_disks(const AssumeRecord& record, System& system) {
    const std::vector<std::string> identities = disk_identities(system);
    if (identities.empty()) return;  // a folder has no disks to be matched
    std::vector<std::size_t> order;
    std::vector<std::string> missing;
    for (const RecordedDisk& disk : record.disks) {
        const auto found = std::find_if(identities.begin(), identities.end(),
                                        [&](const std::string& identity) { return disk.has(identity); });
        if (found == identities.end())
            missing.push_back(fmt::format("{} (disk identifier {}{})", disk.name, disk.after,
                                          disk.before == disk.after ? "" : " or " + disk.before));
        else
            order.push_back(static_cast<std::size_t>(found - identities.begin()));
    }
    if (!missing.empty() && record.phase != AssumePhase::kDone)
        throw_error(Code::kRefused,
                    "{}: an earlier run was cut that was changing {} as well; give that with --disk, too",
                    system.name(), joined(missing));
    if (!missing.empty())
        throw_error(Code::kRefused,
                    "{}: the role was taken up together with {}; give that with --disk, too, or remove "
                    "/var/lib/dupengine/assume of the system to go on without it (and without undo)",
                    system.name(), joined(missing));
    for (std::size_t i = 0; i < identities.size(); ++i)
        if (std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
    system.choose_order(order);
}

void refuse_without_disk(const AssumeRecord& record, const System& system) {
    if ((!record.identifiers.empty() || !record.mounts.empty()) && !system.reaches_storage())
        throw_error(
            Code::kRefused,
            "{}: the role was taken up with --disk, identifiers and boot partitions included; do this with "
            "--disk, too",
            system.name());
}

}  // namespace dupengine::profiles
