#pragma once
// Reading around bad sectors: a range that fails is read again in halves, down to single sectors; a sector
// that fails a few times is given up, read as zeros, and remembered. Safe from any thread.

#include <mutex>

#include "engine/chunks.h"

namespace dupengine::engine {

/// What of the source could not be read.
class BadSectors {
  public:
    void add(block::Extent extent);
    block::ExtentSet extents() const;

  private:
    mutable std::mutex mutex_;
    block::ExtentSet extents_;
};

/// Fills the chunk's extents in area 0. Throws what is not the source's fault.
void salvage(Slot& slot, const block::Reader& source, BadSectors& bad);

}  // namespace dupengine::engine
