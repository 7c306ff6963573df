#pragma once
// The plan of a copy: everything that will be read, written, zeroed and kept, decided before the first write.
// Planning looks at both disks, refuses what cannot be done, and never writes. apply.h carries a plan out.
// Pure over two Readers, so that it runs on fakes; the checks that need the running system are in refusals.h.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/guard.h"
#include "codec/digest.h"
#include "layout/describe.h"

namespace dupengine::engine {

/// What becomes of the target's bytes that the source does not use.
enum class Unused {
    kDiscard,  ///< read as zeros and give their space back where the device can
    kZero,     ///< read as zeros
    kKeep      ///< left as they are: whatever the target held there stays readable
};
enum class Verify {
    kAll,   ///< every byte copied or zeroed is read back from the medium
    kUsed,  ///< every byte copied is, and samples of what was zeroed
    kNone
};

/// Whether the target is read first and only what differs is written.
enum class Delta {
    kAuto,  ///< where samples say that it holds a good part already
    kAlways,
    kNever
};

/// How hard the machine works for a copy. 0: chosen for the two devices.
struct Tuning {
    unsigned workers = 0;
    unsigned depth = 0;  ///< chunks under way in each worker
    std::uint64_t chunk_bytes = 0;
    std::uint64_t bytes_per_second = 0;  ///< 0: no limit
};

struct CopyOptions {
    Unused unused = Unused::kDiscard;
    Verify verify = Verify::kUsed;
    Delta delta = Delta::kAuto;
    bool tolerate_bad_sectors = false;
    Tuning tuning;
    bool grow = false;
    bool ignore_target_table = false;  ///< the target's damaged table may be lost
    std::vector<std::string> protect;  ///< as given: see find_kept_regions
    /// What shows in a later run that the source is still the same (layout/content_state.h); empty if nothing
    /// can, and no journal is kept then. Not set: nobody asks for one (verify).
    std::optional<std::string> source_state;
    /// May look into what of the source is encrypted (layout/plaintext.h). Only until the plan is made.
    layout::PlaintextFinder* plaintext = nullptr;
};

/// A swap partition that is made anew at the end of a larger target; its content means nothing.
struct SwapMove {
    unsigned partition = 0;
    block::Extent before, after;
    std::uint64_t page_bytes = 0;
    std::string uuid, label;  ///< stay; empty if there is none
};

/// The last partition, or the one in front of a last swap partition (or the whole device, number 0), and its
/// filesystem after growing.
struct GrowStep {
    unsigned partition = 0;
    block::Extent before, after;
    std::string filesystem;  ///< "ext4", ...
    std::optional<SwapMove> swap;
};

using Kept = layout::IncompleteMark::Kept;

/// Bytes that are held back until everything else is on the medium.
struct BootStage {
    std::string name;  ///< "backup table", "primary table", "sector 0"
    std::vector<layout::TableImage::Piece> pieces;
};

/// The journal that the copy keeps (journal.h).
struct JournalPlan {
    layout::IncompleteMark::Journal mark;  ///< its id: of the journal that is continued, else not drawn yet
    std::uint64_t chunk_bytes = 0;
    bool continues = false;         ///< what is in it will be read back instead of copied again
    std::uint64_t bytes_named = 0;  ///< how much that is
};

struct CopyPlan {
    layout::DiskDescription source;
    layout::DiskDescription target;  ///< as it is now
    CopyOptions options;
    std::uint32_t sector_bytes = 512;

    std::vector<Kept> kept;        ///< protected regions, with the table entries that come back
    layout::PartitionTable table;  ///< what the target will have
    block::ExtentSet data;         ///< copied from the source to the same place on the target
    block::ExtentSet zero;         ///< made to read as zeros
    block::ExtentSet zero_used;    ///< of zero: what the source uses, and holds as zeros; never only sampled
    std::vector<BootStage> boot;   ///< boot structures: written last, in this order, each flushed
    std::optional<GrowStep> grow;
    bool delta = false;  ///< only what differs is written
    std::optional<JournalPlan> journal;
    std::vector<std::string> notes;  ///< what a person should know, one line each

    std::uint64_t bytes_used = 0;        ///< data and boot structures
    codec::Sha256 target_fingerprint{};  ///< of the target's ends: has it changed since?

    block::ProtectedRegions protected_regions() const;
};

/// What is copied, and onto what. Both outlive whoever is given it.
struct DiskPair {
    const block::Reader& source;
    const block::Reader& target;
    std::optional<std::string> source_state = {};  ///< CopyOptions::source_state, if this pair has its own
};

/// The plans of the disks of a set, in their order. Sources are described together (layout/describe.h). What
/// `--protect` names stays on the one target that has it. Throws as make_plan.
std::vector<CopyPlan> make_plans(std::span<const DiskPair> pairs, const CopyOptions& options);

/// A set of one. Throws kRefused, kSourceIo (the source's table is damaged) or what reading throws.
CopyPlan make_plan(const block::Reader& source, const block::Reader& target, const CopyOptions& options);

/// The mark that stands on the target until the plan is carried out. `started`: Unix seconds.
layout::IncompleteMark mark_for(const CopyPlan& plan, std::int64_t started,
                                const std::optional<layout::IncompleteMark::Journal>& journal);
/// As many digits as a time has until 2286: to try whether a mark has room.
inline constexpr std::int64_t kLongestTime = 9'999'999'999;

/// SHA-256 over size, sector size and the bytes at both ends where tables and marks live.
codec::Sha256 fingerprint_of(const block::Reader& disk);

// The passes of make_plan, in order, each in a file of its own; exposed for their tests.

/// keep.cc: the profile partition, what an interrupted copy kept, and what `--protect` names:
/// "BEGIN+SIZE" or "BEGIN..END" (sizes as in units.h), "PARTLABEL=x", "PARTUUID=x", or either without its
/// key. Throws kRefused for a name that is not there, kUsage for one that cannot be understood.
std::vector<Kept> find_kept_regions(const layout::DiskDescription& target, const CopyOptions& options);

/// keep.cc: the options for each target of a set. Throws kRefused for a name that no target has, or several;
/// kUsage for a range of bytes, which does not say on which.
std::vector<CopyOptions> share_out_protection(std::span<const layout::DiskDescription> targets,
                                              const CopyOptions& options);

/// fit.cc: the source's table with the kept entries in it, for the target's size; grown if asked. Fills
/// plan.table and plan.grow. Throws kRefused if it cannot be laid around what is kept, or does not fit. Reads
/// of the source only what lies behind a filesystem that grows, or behind a smaller target's end.
void fit_table(CopyPlan& plan, const block::Reader& source);

/// fit_growth.cc: called by fit_table for --grow. Fills plan.grow, moves the ends of partitions in
/// plan.table, and notes what keeps its size, and why.
void find_growth(CopyPlan& plan, const block::Reader& source);

/// Boot loaders live between the table and the first partition (GRUB's core image, U-Boot): bytes no table
/// names. As much of them is taken for used.
inline constexpr std::uint64_t kBootGap = 16 * kMiB;

/// spans.cc: fills plan.data and plan.zero.
void find_spans(CopyPlan& plan);

/// holes.cc: moves the source's large holes from plan.data to plan.zero and plan.zero_used.
void skip_holes(CopyPlan& plan, const block::Reader& source);

/// boot_structures.cc: fills plan.boot, and takes those places out of data and zero.
void hold_back_boot_structures(CopyPlan& plan, const block::Reader& source);

/// likeness.cc: fills plan.delta, and says why in a note.
void decide_delta(CopyPlan& plan, const block::Reader& source, const block::Reader& target);

/// plan_journal.cc: fills plan.journal, and says in a note why there is none, or why one that is there cannot
/// be used. After all other passes.
void plan_journal(CopyPlan& plan, const block::Reader& target);

/// The two ranges where the incomplete mark stands during the copy (the first includes sector 0).
block::ExtentSet late_extents(const block::Geometry& target, std::uint32_t sector_bytes);

}  // namespace dupengine::engine
