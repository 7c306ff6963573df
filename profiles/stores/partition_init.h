#pragma once
// Makes the profile partition of a disk: at the end of the usable space, aligned to 1 MiB. Deciding and
// writing are apart: plan_profile_partition() is pure and refuses here, apply_profile_partition() writes. No
// other partition, no byte outside the new partition and the table is ever written; the slots come first,
// then the backup table, then the primary, each flushed, so that a cut leaves the old table or the new one
// with a whole profile.

#include <optional>

#include "base/random.h"
#include "block/guard.h"
#include "layout/partition_table.h"
#include "profiles/store.h"

namespace dupengine::profiles {

struct PartitionRequest {
    std::uint64_t size_bytes = 4 * kMiB;  ///< rounded up to whole MiB; at least kStoreMinimumBytes
    std::optional<unsigned> number;       ///< default: the highest free one, usually 128
    bool replace_damaged = false;         ///< see check_replaceable()
};

struct PartitionPlan {
    bool new_table = false;     ///< the disk is blank: it gets a GPT
    bool new_partition = true;  ///< false: a profile partition is there, and only its slots are written
    /// An earlier init was cut after it had written this very profile: its slots, and so the node's secret,
    /// stay, and the table is written.
    bool profile_is_there = false;
    layout::Partition partition;
    layout::PartitionTable table;  ///< with the partition in it
};

/// Decides where the partition goes. `table` is what the disk of `disk_bytes` has now; kNone makes a new GPT,
/// so the caller has made sure that such a disk is blank. Throws kRefused: MBR, damaged primary table, no
/// space at the end, number taken; kUsage: a size or number that cannot be.
PartitionPlan plan_profile_partition(layout::PartitionTable table, std::uint64_t disk_bytes,
                                     const PartitionRequest& request, RandomSource& random,
                                     const std::string& disk_name);

/// Looks at the disk, refuses what must not be touched (in use, a cut copy, foreign content, a profile that
/// is there already), and plans. What an init with the same request and the same first text left when it was
/// cut is taken up. Writes nothing.
PartitionPlan prepare_partition_store(const std::string& disk, const PartitionRequest& request,
                                      const StoredProfile& first, RandomSource& random);
/// The same for a disk of which somebody else knows that nobody uses it.
PartitionPlan plan_on_disk(const block::Reader& disk, const PartitionRequest& request,
                           const StoredProfile& first, RandomSource& random);

/// Opens the disk exclusively, checks that it still is what was planned for, writes, and tells the
/// kernel of the new partition.
void init_partition_store(const std::string& disk, const PartitionPlan& plan, const StoredProfile& first);

/// The writing alone. `target` must leave the table's and the partition's bytes unprotected;
/// extents_to_write() is the set of them.
void apply_profile_partition(block::Target& target, const PartitionPlan& plan, const StoredProfile& first);
block::ExtentSet extents_to_write(const PartitionPlan& plan, std::uint64_t disk_bytes);

}  // namespace dupengine::profiles
