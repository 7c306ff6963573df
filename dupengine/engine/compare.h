#pragma once
// Is one disk a copy of the other? Compares what a copy would have written with what is there, and names what
// differs by partition and file. Reads both sides past the page cache; never writes.

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/places.h"
#include "engine/plan.h"

namespace dupengine::engine {

struct Comparison {
    std::uint64_t bytes_compared = 0;
    std::uint64_t bytes_different = 0;
    std::vector<PartitionPlaces> partitions;   ///< what differs; pages of 4 KiB
    std::vector<std::string> boot_structures;  ///< those that differ: "start of the disk", ...
    block::ExtentSet not_zero;  ///< what the source does not use and the target still holds, where looked at

    bool same() const { return partitions.empty() && boot_structures.empty() && not_zero.empty(); }
};

/// `plan` is that of the copy: make_plan(source, target). Throws what reading throws, kInterrupted.
Comparison compare_with_plan(const CopyPlan& plan, const block::Reader& source, const block::Reader& target,
                             Progress& progress, std::stop_token stop);

}  // namespace dupengine::engine
