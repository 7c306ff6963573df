#include "profiles/system/running_disk.h"

#include <fcntl.h>

#include <algorithm>
#include <iterator>

#include "base/fd.h"
#include "block/open.h"
#include "profiles/system/disk_identifiers.h"

namespace dupengine::profiles {
namespace {

bool is_in_table(const IdentifierChange& change) {
    return change.kind == IdentifierKind::kPartitionGuid || change.kind == IdentifierKind::kDiskGuid ||
           change.kind == IdentifierKind::kDiskSignature;
}

// What a cache has of something that was changed beneath it.
void drop_cache(const std::string& node) {
    const Fd fd = open_path(node, O_RDONLY, Code::kTargetIo);
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace

RunningDisk::RunningDisk(const std::string& path, block::Media media)
    : name_(path), media_(std::move(media)) {
    device_number_ = block::identify(path).device_number;
    look_again();
}

void RunningDisk::look_again() {
    const auto opened = medium();
    description_ = describe_system_disk(*opened, name_);
    nodes_.clear();
    for (const layout::PartitionDescription& part : description_.partitions)
        if (const auto node = find_kernel_partition(device_number_, part.partition.extent))
            nodes_.emplace(part.partition.number, *node);
    identifiers_ = list_identifiers(*opened, description_);
    fix_unknown_partitions();
}

void RunningDisk::fix_unknown_partitions() {
    for (Identifier& identifier : identifiers_)
        if (identifier.partition.number != 0 && !nodes_.contains(identifier.partition.number))
            identifier.fixed = "the kernel that runs knows no partition in its place";
}

const layout::PartitionDescription& RunningDisk::partition(unsigned number) const {
    const layout::PartitionDescription* found = description_.by_number(number);
    if (found == nullptr) throw_error(Code::kRefused, "{}: there is no partition {}", name_, number);
    return *found;
}

std::string RunningDisk::label(unsigned number) const {
    return fmt::format("{}, partition {}", name_, number);
}

std::optional<KernelPartition> RunningDisk::node_of(unsigned number) const {
    const auto found = nodes_.find(number);
    return found == nodes_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<unsigned> RunningDisk::number_of(std::uint64_t device_number) const {
    for (const auto& [number, node] : nodes_)
        if (node.device_number == device_number) return number;
    return std::nullopt;
}

KernelPartition RunningDisk::checked_node(unsigned number) const {
    const auto node = node_of(number);
    if (!node) throw_error(Code::kRefused, "{}: the kernel that runs does not know it", label(number));
    if (block::identify(node->node).device_number != node->device_number)
        throw_error(Code::kRefused, "{}: {} is another device", label(number), node->node);
    return *node;
}

// Only the volume id can be written.
std::unique_ptr<block::Target> RunningDisk::open_fat(unsigned number) const {
    const block::Extent place = partition(number).partition.extent;
    const auto opened = medium();
    const block::ExtentSet writable =
        content_identifier_extents(block::Window(*opened, place, label(number)), IdentifierKind::kFatId);
    return block::open_partition_in_place(
        checked_node(number).node,
        block::ProtectedRegions::all_except(writable, place.size(), "all but the identifiers to be changed"));
}

// Only what these changes need can be written.
std::unique_ptr<block::Target> RunningDisk::open_disk(const std::vector<IdentifierChange>& changes) const {
    const auto opened = medium();
    const block::ExtentSet writable = identifier_extents(*opened, description_, changes);
    return media_.open_in_place(
        name_, block::ProtectedRegions::all_except(writable, description_.geometry.size_bytes,
                                                   "all but the identifiers to be changed"));
}

void RunningDisk::check_writable(const std::vector<IdentifierChange>& changes) const {
    for (const IdentifierChange& change : changes) {
        if (change.kind == IdentifierKind::kFatId) open_fat(change.partition.number);
        if (change.kind == IdentifierKind::kSwapUuid) checked_node(change.partition.number);
    }
    open_disk(changes);
}

void RunningDisk::set_in_partition(const IdentifierChange& change) const {
    const unsigned number = change.partition.number;
    if (change.kind == IdentifierKind::kFatId) {
        const auto target = open_fat(number);
        set_fat_id(*target, {0, target->geometry().size_bytes}, change.after);
    } else if (change.kind == IdentifierKind::kSwapUuid) {
        set_swap_uuid(*open_disk({change}), partition(number).partition.extent, change.after);
        drop_cache(checked_node(number).node);
    }
}

void RunningDisk::set_in_table(const std::vector<IdentifierChange>& changes) const {
    std::vector<IdentifierChange> of_table;
    std::copy_if(changes.begin(), changes.end(), std::back_inserter(of_table), is_in_table);
    if (!of_table.empty()) set_table_identifiers(*open_disk(of_table), of_table);
}

void RunningDisk::check_medium(const std::vector<IdentifierChange>& changes) {
    look_again();
    for (const IdentifierChange& change : changes)
        for (const Identifier& identifier : identifiers_)
            if (change.kind != IdentifierKind::kFilesystemUuid && identifier.kind == change.kind &&
                identifier.partition.number == change.partition.number && identifier.value != change.after)
                throw_error(Code::kIntegrity, "{}: {}: the medium holds {} after it was set to {}", name_,
                            change.where, identifier.value, change.after);
}

}  // namespace dupengine::profiles
