#pragma once
// `copy SOURCE image:STORE`: a disk becomes a version of an image. See dupengine-copy(8), dupengine-image(7).

#include "cli/command.h"
#include "cli/image_options.h"
#include "cli/luks_options.h"
#include "engine/plan.h"

namespace dupengine::cli {

struct CaptureRequest {
    std::string source;
    image::Reference target;
    engine::CopyOptions options;
    LuksOptions luks;
    ImageTrustOptions trust;  ///< of a source that is an image
    NewImageOptions image;
    bool busy_source = false;
};

int run_capture(const CaptureRequest& request, const Globals& globals);

}  // namespace dupengine::cli
