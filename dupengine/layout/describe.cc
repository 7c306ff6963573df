#include "layout/describe.h"

#include <algorithm>
#include <deque>

#include "layout/damage_watch.h"

namespace dupengine::layout {
namespace {

UsedExtents whole_part(std::uint64_t size_bytes, std::string reason) {
    UsedExtents used;
    used.used.insert({0, size_bytes});
    used.whole = true;
    used.reason = std::move(reason);
    return used;
}

// These are looked into when all disks are known: describe_groups.
bool is_physical_volume(const std::optional<Signature>& signature) {
    return signature && signature->type == "LVM2_member";
}

void look_inside(const block::Reader& part, Depth depth, PlaintextFinder* finder,
                 std::optional<Signature>& signature, UsedExtents& used) {
    try {
        signature = probe_signature(part);
        if (depth != Depth::kTable && !is_physical_volume(signature))
            used = find_used_extents(part, signature, finder);
    } catch (const Error& e) {
        if (depth != Depth::kSalvage || e.code() != Code::kSourceIo) throw;
        used = whole_part(part.geometry().size_bytes,
                          fmt::format("its structures cannot be read: {}", e.what()));
    }
}

block::Window window_on(const block::Reader& disk, const Partition& partition) {
    return {disk, partition.extent, fmt::format("{} partition {}", disk.name(), partition.number)};
}

PartitionDescription describe_partition(const block::Reader& disk, const Partition& partition, Depth depth,
                                        PlaintextFinder* finder) {
    PartitionDescription description;
    description.partition = partition;
    // Our own format: never a filesystem, whatever its bytes look like.
    if (partition.type_guid == type_guid::kProfile) {
        if (depth != Depth::kTable)
            description.used = whole_part(partition.extent.size(), "dupengine profile");
        return description;
    }
    const block::Window part = window_on(disk, partition);
    look_inside(part, depth, finder, description.signature, description.used);
    return description;
}

// Without a table the whole disk may be one filesystem; behind a damaged table nothing may be guessed.
void describe_whole(const block::Reader& disk, Depth depth, PlaintextFinder* finder,
                    DiskDescription& description) {
    if (!description.damaged_table.empty()) {
        if (depth != Depth::kTable)
            description.used = whole_part(disk.geometry().size_bytes, "its partition table is damaged");
        return;
    }
    look_inside(disk, depth, finder, description.signature, description.used);
}

DiskDescription describe_without_groups(const block::Reader& disk, Depth depth, PlaintextFinder* finder) {
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
        describe_whole(disk, depth, finder, description);
        return description;
    }
    for (const Partition& partition : description.table.partitions)
        description.partitions.push_back(describe_partition(disk, partition, depth, finder));
    return description;
}

// The physical volumes on all the disks, together.
void describe_groups(std::span<const block::Reader* const> disks, std::vector<DiskDescription>& descriptions,
                     Unreadable unreadable, PlaintextFinder* finder) {
    std::deque<block::Window> windows;
    std::vector<const block::Reader*> parts;
    std::vector<UsedExtents*> places;
    for (std::size_t i = 0; i < disks.size(); ++i) {
        if (is_physical_volume(descriptions[i].signature)) {
            parts.push_back(disks[i]);
            places.push_back(&descriptions[i].used);
        }
        for (PartitionDescription& p : descriptions[i].partitions) {
            if (!is_physical_volume(p.signature)) continue;
            parts.push_back(&windows.emplace_back(window_on(*disks[i], p.partition)));
            places.push_back(&p.used);
        }
    }
    std::vector<UsedExtents> used = lvm_used_extents(parts, unreadable, finder);
    for (std::size_t i = 0; i < places.size(); ++i)
        *places[i] = std::move(used[i]);
}

}  // namespace

const PartitionDescription* DiskDescription::by_number(unsigned number) const {
    const auto at = std::find_if(partitions.begin(), partitions.end(),
                                 [&](const PartitionDescription& p) { return p.partition.number == number; });
    return at == partitions.end() ? nullptr : &*at;
}

namespace {

std::vector<DiskDescription> describe_all(std::span<const block::Reader* const> disks, Depth depth,
                                          PlaintextFinder* finder) {
    std::vector<DiskDescription> descriptions;
    for (const block::Reader* disk : disks)
        descriptions.push_back(describe_without_groups(*disk, depth, finder));
    if (depth != Depth::kTable)
        describe_groups(disks, descriptions,
                        depth == Depth::kSalvage ? Unreadable::kWhole : Unreadable::kThrow, finder);
    return descriptions;
}

}  // namespace

std::vector<DiskDescription> describe_disks(std::span<const block::Reader* const> disks, Depth depth,
                                            PlaintextFinder* finder) {
    std::deque<DamageWatch> watched;
    std::vector<const block::Reader*> readers;
    for (const block::Reader* disk : disks)
        readers.push_back(&watched.emplace_back(*disk));
    const auto throw_if_damaged = [&] {
        for (const DamageWatch& disk : watched)
            disk.throw_if_damaged();
    };
    try {
        std::vector<DiskDescription> descriptions = describe_all(readers, depth, finder);
        throw_if_damaged();
        return descriptions;
    } catch (const Error&) {
        throw_if_damaged();  // what followed from it says less
        throw;
    }
}

DiskDescription describe_disk(const block::Reader& disk, Depth depth, PlaintextFinder* finder) {
    const block::Reader* one = &disk;
    return std::move(describe_disks({&one, 1}, depth, finder).front());
}

}  // namespace dupengine::layout
