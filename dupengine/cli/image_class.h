#pragma once
// Whether a machine is one of those that an image is for.

#include "block/device.h"
#include "image/manifest.h"

namespace dupengine::cli {

/// Throws kRefused if the image is for machines with a certain role, and the profile on the target does not
/// name it, or there is no profile that could.
void refuse_other_class(const image::Manifest& manifest, const block::Reader& target);

}  // namespace dupengine::cli
