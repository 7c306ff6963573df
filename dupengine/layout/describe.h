#pragma once
// One look at a disk: its table, what each partition holds, what of it is used, where the profile is. The
// common ground of `inspect` and of planning. Never writes.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "layout/incomplete_mark.h"
#include "layout/partition_table.h"
#include "layout/signature.h"
#include "layout/used_extents.h"

namespace dupengine::layout {

struct PartitionDescription {
    Partition partition;
    std::optional<Signature> signature;
    UsedExtents used;  ///< relative to the partition
};

struct DiskDescription {
    std::string name;
    block::Geometry geometry;
    PartitionTable table;
    std::vector<PartitionDescription> partitions;  ///< in table order
    /// Without a table: what the whole device holds.
    std::optional<Signature> signature;
    UsedExtents used;
    /// A copy onto this disk was begun and has not finished (see incomplete_mark.h).
    std::optional<IncompleteMark> incomplete;
    /// Set when there is a table of which no copy can be used; `table` is then empty.
    std::string damaged_table;

    const PartitionDescription* by_number(unsigned number) const;
};

enum class Depth {
    kTable,        ///< table and signatures only (a target)
    kUsedExtents,  ///< the used extents too (a source, or inspect)
    kSalvage       ///< as kUsedExtents, but a filesystem whose structures cannot be read is taken whole
};

/// Several disks that belong together, in their order: a volume group may lie on partitions of all of them.
/// Each is given once. Throws what reading throws, also kIntegrity: an image that is damaged is not a disk
/// with odd structures. A damaged table is described, not thrown: the caller decides. `finder` may look into
/// what is encrypted (plaintext.h).
std::vector<DiskDescription> describe_disks(std::span<const block::Reader* const> disks, Depth depth,
                                            PlaintextFinder* finder = nullptr);
/// A disk by itself.
DiskDescription describe_disk(const block::Reader& disk, Depth depth, PlaintextFinder* finder = nullptr);

}  // namespace dupengine::layout
