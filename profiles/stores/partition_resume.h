#pragma once
// What `profile init` leaves behind when it is cut: the first profile in a place that no table names yet, or
// a table of which only one copy is whole. Told from anybody's data by comparing every byte with what the
// same command would write again; only what is drawn at random may differ. Reads, and never writes.

#include "profiles/stores/partition_init.h"

namespace dupengine::profiles {

/// Whether all that is not zero where `plan` (of a disk without a table) will write is what an earlier init
/// with the same request and text has written, as far as it came.
bool holds_rest_of_init(const block::Reader& disk, const PartitionPlan& plan, const StoredProfile& first);

/// Whether this table was left by a cut: it names a profile partition, one of its copies is not whole, and
/// the partition holds just this first profile.
bool is_table_of_cut_init(const block::Reader& disk, const layout::PartitionTable& table,
                          const StoredProfile& first);

/// Whether exactly this text stands in the slots as the first profile.
bool holds_first_profile(const block::Reader& disk, block::Extent place, const StoredProfile& first);

}  // namespace dupengine::profiles
