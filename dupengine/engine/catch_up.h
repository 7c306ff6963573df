#pragma once
// The end of a copy of a disk that is in use and followed: what was written to it since it was read is copied
// in rounds, until one is the last. Then the target is the source as it was at one moment. Everything else is
// on the medium by then; only the boot structures are not, and what of them was written goes into them.

#include "base/aligned_buffer.h"
#include "block/changes.h"
#include "block/guard.h"
#include "codec/digest.h"
#include "engine/apply.h"

namespace dupengine::engine {

struct CaughtUp {
    std::vector<std::uint64_t> round_bytes;
    std::uint64_t bytes_read = 0, bytes_verified = 0;
};

/// One disk's rounds. What it refers to outlives it; `boot` is the plan's, and changed.
class CatchUp {
  public:
    CatchUp(const CopyPlan& plan, std::vector<BootStage>& boot, const block::Reader& source,
            block::Target& target, ApplyContext& context);

    /// Asks context.next_round, writes, flushes and (unless Verify::kNone) reads back. What of a round is
    /// protected is left out. Throws kIntegrity if the source's partition table was written; kPeer for a
    /// source that has no last round.
    void take_round();
    /// The last round was taken.
    bool is_over() const { return is_over_; }
    const CaughtUp& caught_up() const { return caught_up_; }

  private:
    struct Written {
        block::Extent place;
        codec::Xxh128 digest;
    };
    block::ExtentSet to_be_copied(block::ExtentSet changed) const;
    void take(const block::ExtentSet& changed);
    void copy(block::Extent part, std::vector<Written>& written);
    void put_into_boot_structures(block::Extent part, std::span<const std::byte> bytes);
    void read_back(const Written& written);

    const CopyPlan& plan_;
    std::vector<BootStage>& boot_;
    const block::Reader& source_;
    block::Target& target_;
    ApplyContext& context_;
    block::ExtentSet boot_places_;
    AlignedBuffer buffer_;
    CaughtUp caught_up_;
    bool is_over_ = false;
};

}  // namespace dupengine::engine
