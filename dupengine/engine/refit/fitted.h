#pragma once
// What the passes of refit_source hand on to each other: the table as the target will have it, and where the
// content of each of its partitions comes from. Private to the refit.

#include <memory>
#include <string>
#include <vector>

#include "block/device.h"
#include "layout/partition_table.h"

namespace dupengine::engine {

struct FittedPartition {
    layout::Partition partition;  ///< as it will be: its new place and size
    block::Extent from;           ///< where it is on the source
    /// What it will hold, as large as its new place; null: the first bytes of `from`, as they are.
    std::shared_ptr<const block::Reader> content;
};

struct Fitting {
    std::uint32_t sector_bytes = 512;  ///< of the target
    layout::PartitionTable table;  ///< the source's, for these sectors; `partitions` is made of those below
    std::vector<FittedPartition> partitions;
    std::vector<std::string> notes;
};

}  // namespace dupengine::engine
