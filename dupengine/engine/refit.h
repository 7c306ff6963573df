#pragma once
// The source as it must be on its target, where that is not what it is: other sectors (512e and 4Kn).
// Whatever has to change is changed in a view of the source, never on it: a Patchwork of the source's own
// ranges, of rebuilt structures in memory, and of a table for the target's sectors. The view is a disk like
// any other; planning, copying and verifying go on with it as with any source.
//
//     source -> table -> fit each partition (where it goes, what of it is rebuilt) -> new table -> Patchwork
//
// Writes nothing.

#include <memory>
#include <string>
#include <vector>

#include "block/device.h"
#include "engine/plan.h"

namespace dupengine::engine {

struct Refitted {
    std::vector<std::shared_ptr<const block::Reader>> parts;  ///< what the view reads from, beside the source
    std::unique_ptr<block::Reader> view;                      ///< null: the source fits as it is
    std::vector<std::string> notes;                           ///< what was changed, one line each
};

/// Throws kRefused with the reason if the source cannot be made to fit, and what reading throws. `source`
/// must outlive the view. What make_plan refuses (a damaged table, too small a target) is left to it.
Refitted refit_source(const block::Reader& source, const block::Reader& target, const CopyOptions& options);

}  // namespace dupengine::engine
