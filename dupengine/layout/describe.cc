#include "layout/describe.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

PartitionDescription describe_partition(const block::Reader& disk, const Partition& partition, Depth depth) {
    PartitionDescription description{partition, {}, {}};
    // A profile is nobody's filesystem, and what stands in it is not to be guessed at.
    if (partition.type_guid == type_guid::kProfile) return description;
    const block::Window part(disk, partition.extent,
                             fmt::format("{}, partition {}", disk.name(), partition.number));
    description.signature = probe_signature(part);
    if (depth == Depth::kUsedExtents) description.used = find_used_extents(part, description.signature);
    return description;
}

}  // namespace

const PartitionDescription* DiskDescription::by_number(unsigned number) const {
    const auto found = std::find_if(partitions.begin(), partitions.end(),
                                    [&](const auto& p) { return p.partition.number == number; });
    return found == partitions.end() ? nullptr : &*found;
}

DiskDescription describe_disk(const block::Reader& disk, Depth depth) {
    DiskDescription description;
    description.name = disk.name();
    description.geometry = disk.geometry();
    description.incomplete = find_mark(disk);
    try {
        description.table = read_partition_table(disk);
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        description.damaged_table = e.what();
        return description;
    }
    if (description.table.kind == TableKind::kNone) {
        description.signature = probe_signature(disk);
        if (depth == Depth::kUsedExtents) description.used = find_used_extents(disk, description.signature);
        return description;
    }
    for (const Partition& partition : description.table.partitions)
        description.partitions.push_back(describe_partition(disk, partition, depth));
    return description;
}

}  // namespace dupengine::layout
