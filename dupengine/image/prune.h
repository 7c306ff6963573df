#pragma once
// Takes images out of a store, and gives back the room of chunks that no image needs any more. Packs of which
// little is needed are put together anew. What is to stay is in the store at every moment: new packs are
// durable and all images refer to them before an old one goes.

#include <functional>

#include "image/store.h"

namespace dupengine::image {

struct PruneReport {
    std::vector<StoredImage> kept, removed;
    std::uint64_t packs_removed = 0;  ///< those put together anew as well
    std::uint64_t packs_made = 0;
    std::uint64_t bytes_freed = 0;  ///< of packs: what went less what is new
};

/// `keeps` decides for each image of the store, oldest version first. With `dry_run` nothing is changed, and
/// the report tells what would be. Throws kIntegrity, before anything is changed, if an image that is to stay
/// cannot be read.
PruneReport prune(Store& store, const std::function<bool(const StoredImage&)>& keeps, bool dry_run);

}  // namespace dupengine::image
