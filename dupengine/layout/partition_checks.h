#pragma once
// Checks that every kind of table needs, when reading and when encoding. Pure functions. Private to layout/.

#include <optional>
#include <utility>
#include <vector>

#include "layout/partition_table.h"

namespace dupengine::layout {

/// The numbers of two partitions that share bytes, if there are any.
std::optional<std::pair<unsigned, unsigned>> overlapping_pair(const std::vector<Partition>& partitions);

/// For encoding: throws kRefused unless every partition is a whole, non-empty run of sectors, no two overlap
/// and no number is used twice.
void require_encodable(const PartitionTable& table);

}  // namespace dupengine::layout
