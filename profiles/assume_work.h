#pragma once
// The work between two states of the journal, on the way there and back. Every step is left out if it was
// done before, so all of it can be begun again after a cut anywhere in it. Decides nothing.

#include "profiles/assume_journal.h"

namespace dupengine::profiles {

/// The same identifiers on their way back, the last one first.
std::vector<IdentifierChange> turned(std::vector<IdentifierChange> changes);
/// What the system has in the place of this change; null if there is no such place.
const Identifier* find_identifier(const System& system, const IdentifierChange& change);
/// A run with --disk is neither finished nor undone on a mounted folder alone: references would speak of
/// identifiers that nobody changes. Throws kRefused.
void refuse_without_disk(const AssumeRecord& record, const System& system);

/// Puts the system's disks in the order in which the journal has them. A set that took up the role together
/// is finished, undone and changed together: throws kRefused, naming it, if one of its disks is not there.
void match_disks(const AssumeRecord& record, System& system);

enum class Begun { kNow, kBefore };  ///< kBefore: it was cut, so renames on FAT are mended first

/// From kApplying to kDone. Closes the system, which is open for writing. An error says that the work stopped
/// half-way.
void carry_out(System& system, AssumeJournal& journal, AssumeRecord& record, Begun begun);
/// By way of kUndoing and kUndone to no journal at all.
void carry_back(System& system, AssumeJournal& journal, AssumeRecord& record, Begun begun);

}  // namespace dupengine::profiles
