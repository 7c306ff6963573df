#include "layout/describe.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

UsedExtents whole_part(std::uint64_t size_bytes, std::string reason) {
    UsedExtents used;
    used.used.insert({0, size_bytes});
    used.whole = true;
    used.reason = std::move(reason);
    return used;
}

void look_inside(const block::Reader& part, Depth depth, std::optional<Signature>& signature,
                 UsedExtents& used) {
    try {
        signature = probe_signature(part);
        if (depth != Depth::kTable) used = find_used_extents(part, signature);
    } catch (const Error& e) {
        if (depth != Depth::kSalvage || e.code() != Code::kSourceIo) throw;
        used = whole_part(part.geometry().size_bytes,
                          fmt::format("its structures cannot be read: {}", e.what()));
    }
}

PartitionDescription describe_partition(const block::Reader& disk, const Partition& partition, Depth depth) {
    PartitionDescription description;
    description.partition = partition;
    // Our own format: never a filesystem, whatever its bytes look like.
    if (partition.type_guid == type_guid::kProfile) {
        if (depth != Depth::kTable)
            description.used = whole_part(partition.extent.size(), "dupengine profile");
        return description;
    }
    const block::Window part(disk, partition.extent,
                             fmt::format("{} partition {}", disk.name(), partition.number));
    look_inside(part, depth, description.signature, description.used);
    return description;
}

// Without a table the whole disk may be one filesystem; behind a damaged table nothing may be guessed.
void describe_whole(const block::Reader& disk, Depth depth, DiskDescription& description) {
    if (!description.damaged_table.empty()) {
        if (depth != Depth::kTable)
            description.used = whole_part(disk.geometry().size_bytes, "its partition table is damaged");
        return;
    }
    look_inside(disk, depth, description.signature, description.used);
}

}  // namespace

const PartitionDescription* DiskDescription::by_number(unsigned number) const {
    const auto at = std::find_if(partitions.begin(), partitions.end(),
                                 [&](const PartitionDescription& p) { return p.partition.number == number; });
    return at == partitions.end() ? nullptr : &*at;
}

DiskDescription describe_disk(const block::Reader& disk, Depth depth) {
    DiskDescription description;
    description.name = disk.name();
    description.geometry = disk.geometry();
    try {
        description.table = read_partition_table(disk);
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        description.damaged_table = e.what();
    }
    description.incomplete = find_mark(disk);
    if (description.table.kind == TableKind::kNone) {
        describe_whole(disk, depth, description);
        return description;
    }
    for (const Partition& partition : description.table.partitions)
        description.partitions.push_back(describe_partition(disk, partition, depth));
    return description;
}

}  // namespace dupengine::layout
