#pragma once
// What `inspect image:` and `verify image:` say. Each prints, and returns the exit status.

#include "cli/command.h"
#include "cli/image_options.h"

namespace dupengine::cli {

/// Without a name: the images of the store, and how much of it each needs alone. With one: that image.
int inspect_image(const image::Reference& reference, const image::WebOptions& web, const Globals& globals);

/// Without a name: every image of the store. Reads all that is stored for them, there and from no cache.
int verify_image(const image::Reference& reference, const ImageTrustOptions& trust, const Globals& globals);

}  // namespace dupengine::cli
