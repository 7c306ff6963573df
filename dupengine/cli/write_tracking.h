#pragma once
// How `clone` learns what is written to the disks while it copies them (--track): from the kernel, or by
// comparing digests.

#include <memory>
#include <string>

#include "base/random.h"
#include "cli/source_disks.h"
#include "machine/change_tracker.h"

namespace dupengine::cli {

struct WriteTracking {
    bool by_digest = false;
    std::string reason;  ///< why, where nobody asked for digests
};

/// `asked` is "bpf", "digest", or empty: BPF where this kernel takes it, else digests. Throws kUnsupported
/// for digests where memory is to go.
WriteTracking choose_tracking(const std::string& asked, bool with_memory);

/// From here on. Throws as RowTracker and DigestTracker.
std::unique_ptr<machine::ChangeTracker> start_tracking(const WriteTracking& tracking,
                                                       const SourceDisks& disks, RandomSource& random);

}  // namespace dupengine::cli
