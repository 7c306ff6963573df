#pragma once
// Carries a plan out. Writes and never decides; the order of writes (ARCHITECTURE.md, "Why a cut leaves no
// plausible garbage") is the promise that after any interruption the target is complete or plainly not.

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "block/changes.h"
#include "block/guard.h"
#include "engine/chunks.h"
#include "engine/held_boot.h"
#include "engine/places.h"
#include "engine/plan.h"

namespace dupengine::engine {

struct ProtectedDigest {
    std::string name;
    block::Extent extent;
    codec::Sha256 before{}, after{};
};

struct CopyReport {
    std::string source, target;
    std::uint64_t bytes_used = 0;     ///< what of the source was to be copied
    std::uint64_t bytes_read = 0;     ///< from the source
    std::uint64_t bytes_equal = 0;    ///< the target held them already (delta, journal)
    std::uint64_t bytes_resumed = 0;  ///< of these, what the journal named: not read from the source again
    std::uint64_t bytes_written = 0;  ///< to the target, boot structures and marks included
    std::uint64_t bytes_zeroed = 0;
    std::uint64_t bytes_verified = 0;        ///< read back and compared, or seen to be a hole
    double seconds = 0;                      ///< spent on this disk
    std::uint64_t chunk_bytes = 0;           ///< of the chunks that on_chunk was shown
    std::vector<std::uint64_t> round_bytes;  ///< of a source in use: what each round named (catch_up.h)
    std::vector<ProtectedDigest> protected_regions;
    std::vector<PartitionPlaces> bad_sectors;  ///< of the source: zeros on the target
    std::vector<std::string> notes;
};

struct ApplyContext {
    Progress& progress;
    std::stop_token stop;
    std::int64_t now = 0;  ///< Unix seconds, for the mark
    /// Grows the filesystem of plan.grow (grow.h); empty in tests on fakes that don't grow.
    std::function<void(const CopyPlan&, block::Target&)> grow;
    /// How the source changed since it was planned, or is about to ("mounted on /mnt"); empty if it did not.
    std::function<std::string()> source_change = {};
    /// When all was read of the source, its last round too, and before anything makes the target look like a
    /// disk. Throws if the source turns out not to be whole: a pipe that was cut behind the last byte that
    /// was needed, memory of a running machine that did not come.
    std::function<void()> source_end = {};
    /// The next round of what was written to a source that is in use and followed (catch_up.h); empty for any
    /// other. Those of a set are asked in turn.
    std::function<block::Changes()> next_round = {};
    /// Given the boot structures when all else is done, instead of writing them: the target stays marked
    /// unfinished until somebody does. Empty: they are written.
    std::function<void(HeldBoot)> hold_boot = {};
    /// Shown each chunk as it is copied (report.h); from any worker.
    std::function<void(const Slot&)> on_chunk = {};

    /// The shortest time between two records of the journal; see there.
    std::chrono::milliseconds journal_pace{2000};
};

/// One disk of a set; what it refers to outlives the work.
struct CopyJob {
    const CopyPlan& plan;
    const block::Reader& source;
    block::Target& target;
    ApplyContext& context;
};

/// Copies the disks of a set, one after another, and completes them together: all are marked unfinished
/// before the first is written, and the boot structures of any are written when the data of all is verified,
/// those of the first job last. An error in one leaves all of them marked; only a power cut among the last
/// few writes can leave some complete and the others marked.
std::vector<CopyReport> apply_plans(std::span<const CopyJob> jobs);

/// A set of one. Throws kRefused, before the first write, if the target is no longer what was planned for.
/// Later errors leave the target marked unfinished. When it returns, everything (but what was handed to
/// hold_boot) is written, flushed and (unless Verify::kNone) read back, and every protected region has the
/// digest that it had before.
CopyReport apply_plan(const CopyPlan& plan, const block::Reader& source, block::Target& target,
                      ApplyContext& context);

}  // namespace dupengine::engine
