#include "cli/fitted_source.h"

namespace dupengine::cli {

FittedSource::FittedSource(const block::Reader& source, const block::Reader& target,
                           const engine::CopyOptions& options)
    : refitted_(engine::refit_source(source, target, options)),
      reader_(refitted_.view ? refitted_.view.get() : &source),
      notes_(refitted_.notes) {}

}  // namespace dupengine::cli
