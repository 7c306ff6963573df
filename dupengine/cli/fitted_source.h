#pragma once
// The source as it has to be on its target, which copy and verify share: made smaller if that was asked for,
// then made for the target's sectors. Nothing where it fits as it is.

#include <string>
#include <vector>

#include "cli/command.h"
#include "engine/refit.h"

namespace dupengine::cli {

class FittedSource {
  public:
    /// Throws what refit_source throws. `source` outlives it.
    FittedSource(const block::Reader& source, const block::Reader& target,
                 const engine::CopyOptions& options);

    /// What is planned and copied from.
    const block::Reader& reader() const { return *reader_; }
    /// It is not the source itself.
    bool is_view() const { return refitted_.view != nullptr; }
    /// What was changed, for the plan.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    engine::Refitted refitted_;
    const block::Reader* reader_;
    std::vector<std::string> notes_;
};

}  // namespace dupengine::cli
