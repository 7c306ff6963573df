#pragma once
// The source as it has to be on its target, which copy and verify share: with new keys and made smaller if
// that was asked for, with the progress of it on standard error and able to be interrupted, then made for the
// target's sectors. Nothing where it fits as it is.

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/drawing.h"
#include "engine/refit.h"
#include "engine/refit/rekey.h"
#include "engine/refit/shrink.h"

namespace dupengine::cli {

class FittedSource {
  public:
    /// `rekeyed` is the source with new keys, or empty. Throws what shrink_source and refit_source throw.
    /// `source` outlives it.
    FittedSource(engine::Rekeyed rekeyed, const block::Reader& source, const block::Reader& target,
                 bool shrink, const engine::CopyOptions& options, const Globals& globals);

    /// What is planned and copied from.
    const block::Reader& reader() const { return *reader_; }
    /// It is not the source itself.
    bool is_view() const { return is_view_; }
    /// What was changed, for the plan.
    const std::vector<std::string>& notes() const { return notes_; }
    /// If it was made smaller: the disk as it is, with its size, as a bar. What the plan begins with.
    std::string draw_before(const DrawingStyle& style) const;

  private:
    engine::Rekeyed rekeyed_;
    engine::Shrunk shrunk_;
    engine::Refitted refitted_;
    const block::Reader* reader_;
    bool is_view_ = false;
    std::vector<std::string> notes_;
};

}  // namespace dupengine::cli
