#pragma once
// Taking up a role: what must be different on a copied system so that it is this node and no other, planned
// first and then carried out under a journal. A cut at any moment is finished, or undone, by the next run; a
// second run finds nothing to change and writes nothing; undo brings back what was there. Planning never
// writes; carrying out never decides. Used by one thread.
//
// Order of the work: journal (with everything that was and will be), renames, files, identifiers of file
// systems and swap, identifiers of the tables, journal closed. The journal is in the root file system
// (assume_journal.h).

#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "profiles/profile.h"
#include "profiles/system/staged.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

struct AssumeOptions {
    std::set<std::string> left_references;  ///< files whose references a person accepts as they are
    /// Partitions whose identifiers stay, in this run and in every later one on this copy. Each is there.
    std::set<PartitionId> kept_partitions;
};

struct AssumePlan {
    std::string node;
    std::uint64_t generation = 0;  ///< of the profile
    std::vector<Change> changes;   ///< for a person, in the order of the items
    std::vector<std::string> notes;
    std::vector<RenameAction> renames;
    std::vector<PutAction> puts;
    std::vector<IdentifierChange> identifiers;
    std::map<std::string, std::string> remembered;  ///< values drawn for this copy (Mode::kRegenerate)

    bool empty() const { return renames.empty() && puts.empty() && identifiers.empty(); }
};

/// What an earlier run left to be done.
enum class Pending {
    kNothing,
    kFinish,
    kUndo,
    kTidy  ///< nothing but images in the journal's folder; private keys may be among them
};

/// Throws kRefused if the copied system came from a source that had itself been cut in the middle, or as
/// require_disks().
Pending find_pending(const NodeSecret& secret, System& system);

/// Puts the disks in the order in which the role was taken up on them. Throws kRefused, naming it, if one of
/// them is not there. For before the file systems are in order: a journal of somebody else is not judged yet.
void require_disks(const NodeSecret& secret, System& system);

/// The node whose role was taken up on this copy, whole or half-way; empty: none of ours.
std::string node_here(const NodeSecret& secret, System& system);

/// Throws kRefused for what the profile asks and cannot be had, or if something is pending.
AssumePlan plan_assume(const Profile& profile, const NodeSecret& secret, System& system, RandomSource& random,
                       const AssumeOptions& options = {});

/// Throws kRefused if the system is no longer what was planned, or has no room; then nothing was changed.
void apply_assume(const AssumePlan& plan, const NodeSecret& secret, System& system);

/// Does what find_pending() found.
void complete_pending(const NodeSecret& secret, System& system);

struct UndoPlan {
    std::string node;  ///< that took up the role
    std::vector<Change> changes;
    std::vector<std::string> notes;  ///< what was changed since, by the system or by somebody, and stays
};

/// What undo would bring back. Throws kRefused if no role was taken up on this copy by this node, if an
/// identifier was changed since by somebody else, or if something was written since that refers to one that
/// would go (options.left_references accepts that).
UndoPlan plan_undo(const NodeSecret& secret, System& system, const AssumeOptions& options = {});
void undo_assume(const NodeSecret& secret, System& system, const AssumeOptions& options = {});

}  // namespace dupengine::profiles
