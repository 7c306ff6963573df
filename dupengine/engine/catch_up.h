#pragma once
// The end of a copy of a disk that is in use and followed: what was written to it since it was read is copied
// in rounds, until one is the last. Then the target is the source as it was at one moment. Everything else is
// on the medium by then; only the boot structures are not, and what of them was written goes into them.

#include "block/changes.h"
#include "block/guard.h"
#include "engine/apply.h"

namespace dupengine::engine {

struct CaughtUp {
    std::vector<std::uint64_t> round_bytes;
    std::uint64_t bytes_read = 0, bytes_verified = 0;
};

/// Asks context.next_round, writes, flushes and (unless Verify::kNone) reads back. What of a round is
/// protected is left out. `boot` is the plan's, and changed. Throws kIntegrity if the source's partition
/// table was written; kPeer for a source that has no last round.
CaughtUp catch_up(const CopyPlan& plan, std::vector<BootStage>& boot, const block::Reader& source,
                  block::Target& target, ApplyContext& context);

}  // namespace dupengine::engine
