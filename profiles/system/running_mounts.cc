// RunningSystem: which partition stands where in the system's tree, and what of it cannot be looked through.

#include <algorithm>

#include "base/error.h"
#include "block/in_place.h"
#include "block/open.h"
#include "profiles/system/disk_identifiers.h"
#include "profiles/system/file_system_table.h"
#include "profiles/system/linux_files.h"
#include "profiles/system/running_system.h"

namespace dupengine::profiles {

void RunningSystem::place_or_close(const std::string& path, PartitionId id) {
    settled_.insert(id);
    const std::string closed = why_closed(id);
    if (!closed.empty()) return close_off(path, closed);
    std::vector<MountPoint> mounts = mounts_;
    mounts.push_back({path, id});
    choose_mounts(std::move(mounts));
}

void RunningSystem::close_off(const std::string& path, const std::string& why) {
    if (may_hold_references(path))
        unsearchable_.push_back({path, why});
    else
        notes_.push_back(fmt::format("{} is {}; nothing in it is changed", path, why));
}

// Why nothing of it can be read; empty if it can.
std::string RunningSystem::why_closed(PartitionId id) {
    const layout::PartitionDescription& part = partition(id);
    const std::string type = part.signature ? part.signature->type : "no known file system";
    const std::string where = fmt::format("partition {} ({}){}", id.number, type, of_disk(id.disk));
    if (!has_linux_files(part) && !is_fat(part)) return where + ", which is not looked through";
    if (!disks_[id.disk].node_of(id.number)) return where + ", which the kernel that runs does not know";
    if (mounted_at_.contains(id)) return {};
    const auto medium = disks_[id.disk].medium();
    if (has_linux_files(part) &&
        !was_left_in_order(part, block::Window(*medium, part.partition.extent, where)))
        return where + ", which is not mounted and was not left in order";
    try {
        open_part(id);
        return {};
    } catch (const Error& e) {
        return fmt::format("{}, which is not mounted and cannot be ({})", where, e.what());
    }
}

void RunningSystem::find_mounts() {
    find_present_mounts();
    find_absent_mounts();
    for (const PartitionId id : partitions())
        if (is_boot_type(disks_[id.disk].description(), partition(id).partition) && !is_settled(id))
            find_boot_partition(id);
}

void RunningSystem::find_present_mounts() {
    for (const OwnMount& mount : own_mounts_) {
        if (mount.path == "/" || mount.type == "autofs") continue;
        const auto id = partition_of(mount.device);
        if (!id) {
            refuse_unknown_partition(mount);
            // What is in memory (a machine-id that is made at every start) refers to nothing at the next one.
            const bool lasts = mount.type != "tmpfs" && mount.type != "ramfs";
            if (lasts && may_hold_references(mount.path))
                close_off(mount.path, mount.type + " of something that is not on " + name_);
        } else if (mount.subtree != "/") {
            if (may_hold_references(mount.path))
                close_off(mount.path, fmt::format("the folder {} of a file system", mount.subtree));
        } else if (!is_settled(*id)) {
            place_or_close(mount.path, *id);
        }
    }
}

void RunningSystem::refuse_unknown_partition(const OwnMount& mount) const {
    const auto disk = disk_of_kernel_partition(mount.device);
    for (const RunningDisk& one : disks_)
        if (disk == block::identify(one.name()).device_number)
            throw_error(Code::kRefused,
                        "{}: is mounted from a partition that the kernel knows of {} and its table does not",
                        mount.path, one.name());
}

// What fstab and units would mount where references are searched, and is not mounted now.
void RunningSystem::find_absent_mounts() {
    std::vector<MountLine> lines = parse_fstab(read_text(root(), "/etc/fstab"));
    for (MountLine& unit : mount_units(root()))
        lines.push_back(std::move(unit));
    std::string root_device;
    for (const MountLine& line : lines)
        if (line.path == "/" && root_device.empty()) root_device = line.device;
    for (const MountLine& line : lines) {
        const bool is_there = std::any_of(own_mounts_.begin(), own_mounts_.end(), [&](const OwnMount& mount) {
            return mount.path == line.path && mount.type != "autofs";
        });
        if (is_there || !is_block_device(line.device) || !may_hold_references(line.path)) continue;
        const std::vector<PartitionId> meant = partitions_meant(line.device, root_device, descriptions());
        if (meant.size() != 1)
            close_off(line.path, line.device + (meant.empty() ? ", which is not on " + name_
                                                              : ", which may be one of several partitions"));
        else if (!is_settled(meant.front()))
            place_or_close(line.path, meant.front());
    }
}

// What boots is looked through even if nothing says where it is mounted.
void RunningSystem::find_boot_partition(PartitionId id) {
    std::string path = default_place_of(partition(id).partition, root());
    const auto is_there = [&](const auto& mount) { return mount.path == path; };
    if (std::any_of(mounts_.begin(), mounts_.end(), is_there) ||
        std::any_of(unsearchable_.begin(), unsearchable_.end(), is_there))
        path = place_beside(id);
    if (const std::string closed = why_closed(id); !closed.empty())
        unsearchable_.push_back({path, closed});
    else
        place_or_close(path, id);
}

std::vector<std::string> RunningSystem::boot_folders() {
    std::vector<std::string> folders = {"/boot", "/efi"};
    for (const MountPoint& mount : mounts_)
        if (is_fat(partition(mount.partition)) ||
            is_boot_type(disks_[mount.partition.disk].description(), partition(mount.partition).partition))
            if (std::find(folders.begin(), folders.end(), mount.path) == folders.end())
                folders.push_back(mount.path);
    return folders;
}

}  // namespace dupengine::profiles
