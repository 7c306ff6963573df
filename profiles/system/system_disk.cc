#include "profiles/system/system_disk.h"

#include "base/error.h"
#include "layout/in_use.h"
#include "profiles/system/disk_identifiers.h"
#include "profiles/system/linux_files.h"

namespace dupengine::profiles {

using layout::PartitionDescription;

SystemDisk::SystemDisk(const std::string& path) : name_(path) {
    for (const layout::Use& use : layout::find_uses(path))
        throw_error(Code::kRefused, "{}: in use: {}: {}", path, use.device, use.detail);
    look_again();
}

void SystemDisk::look_again() {
    if (target_)
        look_at(*target_);
    else
        look_at(*block::open_source(name_));
}

void SystemDisk::look_at(const block::Reader& disk) {
    description_ = describe_system_disk(disk, name_);
    identifiers_ = list_identifiers(disk, description_);
}

const PartitionDescription& SystemDisk::partition(unsigned number) const {
    const PartitionDescription* found = description_.by_number(number);
    if (found == nullptr) throw_error(Code::kRefused, "{}: there is no partition {}", name_, number);
    return *found;
}

std::string SystemDisk::label(unsigned number) const {
    return fmt::format("{}, partition {}", name_, number);
}

PartitionLoop SystemDisk::loop_on(unsigned number, Access access) const {
    return {name_, partition(number).partition.extent, description_.table.sector_bytes, access};
}

ExtState SystemDisk::ext_state(unsigned number) const {
    const auto disk = block::open_source(name_);
    return read_ext_state(block::Window(*disk, partition(number).partition.extent, label(number)));
}

bool SystemDisk::was_left_in_order(unsigned number) const {
    const auto disk = block::open_source(name_);
    const PartitionDescription& part = partition(number);
    return profiles::was_left_in_order(part, block::Window(*disk, part.partition.extent, label(number)));
}

std::vector<unsigned> SystemDisk::cut_uuid_changes() const {
    std::vector<unsigned> numbers;
    for (const PartitionDescription& part : description_.partitions)
        if (is_ext(part) && ext_state(part.partition.number).was_cut)
            numbers.push_back(part.partition.number);
    return numbers;
}

std::string SystemDisk::put_in_order(unsigned number) const {
    // Nobody but this loop device may write while we hold the disk.
    const auto claim = block::open_target(
        name_,
        block::ProtectedRegions::all_except(block::ExtentSet{}, description_.geometry.size_bytes, "nothing"));
    PartitionLoop loop = loop_on(number, Access::kWrite);
    if (!is_ext(partition(number))) {
        // To mount it replays; unmounted it is in order.
        static_cast<void>(mount_linux_files(partition(number), loop.path(), Access::kWrite, label(number)));
        loop.flush();
        return "journal replayed";
    }
    const ExtState state = ext_state(number);
    repair_ext(loop.path(), state, label(number));
    loop.flush();
    return state.was_cut ? "the change of its UUID, which was cut, is completed" : "journal replayed";
}

void SystemDisk::claim(const std::vector<IdentifierChange>& changes) {
    const auto disk = block::open_source(name_);
    const block::ExtentSet writable = identifier_extents(*disk, description_, changes);
    target_ = block::open_target(
        name_, block::ProtectedRegions::all_except(writable, description_.geometry.size_bytes,
                                                   "the identifiers to be changed"));
    look_again();
}

void SystemDisk::check_contents(const std::vector<IdentifierChange>& changes) const {
    for (const IdentifierChange& change : changes) {
        if (change.kind != IdentifierKind::kFilesystemUuid) continue;
        const unsigned number = change.partition.number;
        const ExtState state =
            read_ext_state(block::Window(*target_, partition(number).partition.extent, change.where));
        const PartitionLoop loop = loop_on(number, Access::kWrite);
        if (state.full_check_first)
            check_ext(loop.path(), label(number));
        else
            repair_ext(loop.path(), state, label(number));
    }
}

// The table's identifiers are set all at once: they belong to no partition's content.
void SystemDisk::set_in_partition(const IdentifierChange& change) {
    const bool in_partition = change.kind == IdentifierKind::kFatId ||
                              change.kind == IdentifierKind::kSwapUuid ||
                              change.kind == IdentifierKind::kFilesystemUuid;
    if (!in_partition) return;
    const unsigned number = change.partition.number;
    const block::Extent place = partition(number).partition.extent;
    if (change.kind == IdentifierKind::kFatId) return set_fat_id(*target_, place, change.after);
    if (change.kind == IdentifierKind::kSwapUuid) return set_swap_uuid(*target_, place, change.after);
    PartitionLoop loop = loop_on(number, Access::kWrite);
    const ExtState state = read_ext_state(block::Window(*target_, place, change.where));
    set_ext_uuid(loop.path(), state, change.after, label(number));
    loop.flush();
}

void SystemDisk::set_in_table(const std::vector<IdentifierChange>& changes) {
    set_table_identifiers(*target_, changes);
    look_again();
}

void SystemDisk::release() {
    if (target_) target_->flush();
    target_.reset();
}

}  // namespace dupengine::profiles
