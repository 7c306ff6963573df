#pragma once
// Where on a disk something is, as a person knows it: by partition, filesystem and file.

#include <string>
#include <vector>

#include "layout/describe.h"
#include "layout/file_owners.h"

namespace dupengine::engine {

struct PartitionPlaces {
    unsigned partition = 0;    ///< 0: outside all partitions, or a disk without a table
    std::string filesystem;    ///< of the source; empty if there is none
    block::ExtentSet extents;  ///< on the disk
    layout::FileOwners owners;
};

/// By partition of `disk`, which describes `source`. Throws what reading throws.
std::vector<PartitionPlaces> sort_by_partition(const layout::DiskDescription& disk,
                                               const block::Reader& source, block::ExtentSet places);

/// "partition 2", "outside the partitions", or "the whole disk" for a filesystem without a table.
std::string place_text(const PartitionPlaces& places);

/// "partition 2: /etc/fstab, /var/log/syslog", one line; empty for no places.
std::string name_places(const std::vector<PartitionPlaces>& places);

}  // namespace dupengine::engine
