#pragma once
// The profile partition of a disk or raw image: found by its type GUID in the GPT, or, on a disk whose copy
// was cut, in the incomplete mark. Only that partition is ever written.
//
// A disk in use. `profile set` on the very disk that a machine runs from is a natural thing to do, but the
// kernel does not give a disk exclusively while one of its partitions is mounted. So a write opens the
// partition's own device node exclusively where the kernel has one. That is safe, and safer than sharing the
// disk: the kernel itself keeps every write inside the partition, nobody else can hold the partition or the
// whole disk (a running copy to it, say) exclusively at the same time, and a partition that is held open
// cannot be moved or deleted; after opening, its place is compared with the table once more. Where the kernel
// has no node (an image file, a table it has not read), the whole disk is opened exclusively, with everything
// but the partition protected by the guard. Reads always ask the medium, because the page caches of a disk
// and of its partitions do not know of each other.

#include <functional>
#include <optional>

#include "block/guard.h"
#include "layout/partition_table.h"
#include "profiles/store.h"

namespace dupengine::profiles {

std::unique_ptr<ProfileStore> partition_store(const std::string& disk);

/// Where the profile partition lies.
struct ProfilePlace {
    block::Extent extent;
    std::optional<unsigned> number;  ///< empty: its table entry is not known
    std::uint32_t sector_bytes = 512;
    bool operator==(const ProfilePlace&) const = default;
};

/// Empty if the disk has none. Throws kRefused if there are several, kIntegrity if there is a damaged table
/// and no mark, and what reading throws.
std::optional<ProfilePlace> find_profile_place(const block::Reader& disk);
/// The same in a table that was read already; `disk_name` is for messages.
std::optional<ProfilePlace> profile_place_in(const layout::PartitionTable& table,
                                             const std::string& disk_name);

/// The newest profile of a disk that somebody has opened. Throws kRefused if it has no profile partition,
/// kIntegrity if no slot can be used.
StoredProfile read_profile(const block::Reader& disk);

/// Opens the profile partition of a disk for writing, as above, and hands `write` what was opened and the
/// partition's extent in it: nothing else can be written. Throws kRefused if there is none or it is in use.
using WriteRegion = std::function<void(block::Target& target, block::Extent region)>;
void write_profile_partition(const std::string& disk, const WriteRegion& write);

}  // namespace dupengine::profiles
