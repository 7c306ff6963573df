#pragma once
// The identifiers that a disk and what is on it carry, and how those are changed that are a few bytes in a
// known place (FAT, swap, the partition table). All writes go through the guard, which is opened for exactly
// these bytes. Formats: Microsoft fatgen103; Linux' swap header (include/linux/swap.h); partition_table.h.

#include <set>
#include <vector>

#include "block/guard.h"
#include "layout/describe.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

/// The table of a system's disk. Throws kRefused for a disk on which no system can be: an unfinished copy, a
/// damaged table, or none; messages call it `name`.
layout::DiskDescription describe_system_disk(const block::Reader& disk, const std::string& name);

/// What there is, on a disk by itself. The profile's own partition is left out: it is never changed.
std::vector<Identifier> list_identifiers(const block::Reader& disk,
                                         const layout::DiskDescription& description);

bool is_ext(const layout::PartitionDescription& partition);
bool is_fat(const layout::PartitionDescription& partition);

/// The bytes that these changes need; not those of ext file systems, which are changed through a loop device.
/// Throws kIntegrity if a place is not what it should be.
block::ExtentSet identifier_extents(const block::Reader& disk, const layout::DiskDescription& description,
                                    const std::vector<IdentifierChange>& changes);

/// The same for a change inside one partition, of which `part` is a view: what of it is written.
block::ExtentSet content_identifier_extents(const block::Reader& part, IdentifierKind kind);

void set_fat_id(block::Target& disk, block::Extent part, const std::string& id);
void set_swap_uuid(block::Target& disk, block::Extent part, const std::string& uuid);
/// All changes of the table at once: backup, flush, primary, flush; each moment has one whole copy.
void set_table_identifiers(block::Target& disk, const std::vector<IdentifierChange>& changes);

}  // namespace dupengine::profiles
