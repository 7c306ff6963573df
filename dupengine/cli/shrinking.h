#pragma once
// --shrink, which copy and verify share: the source made to fit its target before anything is planned, with
// the progress of it on standard error, and able to be interrupted.

#include <string>

#include "cli/command.h"
#include "cli/drawing.h"
#include "engine/refit/shrink.h"

namespace dupengine::cli {

/// Nothing if it was not asked for, or if the source fits as it is. Throws what shrink_source throws.
engine::Shrunk shrink_if_asked(bool asked, const block::Reader& source, const block::Reader& target,
                               const engine::CopyOptions& options, const Globals& globals);

/// The disk as it is, with its size, as a bar: what a plan that changes it begins with.
std::string draw_before(const layout::DiskDescription& source, const DrawingStyle& style);

}  // namespace dupengine::cli
