#pragma once
// Renames on FAT after a cut: mtools writes more than one sector for one, and what fsck.fat makes of a part
// of that may be at both places, at none, or under a short name alone. The journal has what was moved.

#include "profiles/assume_journal.h"

namespace dupengine::profiles {

/// Makes everything that was saved be at the new place of its rename and nothing of it at the old one. What
/// the journal does not know is left alone.
void mend_rename(Tree& tree, const AssumeJournal& journal, const AssumeRecord& record,
                 const SavedRename& saved);

}  // namespace dupengine::profiles
