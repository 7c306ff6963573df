// DiskSystem: which partition of the disk stands where in the system's tree, and what of it cannot be opened.

#include <algorithm>

#include "base/error.h"
#include "profiles/system/disk_identifiers.h"
#include "profiles/system/disk_system.h"
#include "profiles/system/fat_tree.h"
#include "profiles/system/file_system_table.h"
#include "profiles/system/linux_files.h"

namespace dupengine::profiles {

using layout::PartitionDescription;

// Why nothing of it can be read; empty if it can.
std::string DiskSystem::why_closed(PartitionId id) {
    const PartitionDescription& part = partition(id);
    const std::string type = part.signature ? part.signature->type : "no known file system";
    const std::string where = fmt::format("partition {} ({}){}", id.number, type, of_disk(id.disk));
    if (has_linux_files(part)) return {};
    if (!is_fat(part)) return where + ", which cannot be read here";
    try {
        const PartitionLoop loop = loop_on(id, Access::kRead);
        const FatTree tree(loop.path(), label(id));
        return {};
    } catch (const Error& e) {
        return fmt::format("{}, which cannot be read ({})", where, e.what());
    }
}

void DiskSystem::find_mounts() {
    unsearchable_.clear();
    std::vector<MountPoint> mounts;
    std::set<PartitionId> placed = {root_};
    find_written_mounts(mounts, placed);
    find_boot_partitions(mounts, placed);
    choose_mounts(std::move(mounts));
}

void DiskSystem::find_written_mounts(std::vector<MountPoint>& mounts, std::set<PartitionId>& placed) {
    std::vector<MountLine> lines = parse_fstab(read_text(root(), "/etc/fstab"));
    for (MountLine& unit : mount_units(root()))
        lines.push_back(std::move(unit));
    std::string root_device;
    for (const MountLine& line : lines)
        if (line.path == "/" && root_device.empty()) root_device = line.device;
    // A number may be of another disk: first what is certain.
    std::stable_partition(lines.begin(), lines.end(),
                          [](const MountLine& line) { return !is_numbered(line.device); });
    for (const MountLine& line : lines) {
        if (line.path == "/" || !is_block_device(line.device)) continue;
        const std::vector<PartitionId> meant = partitions_meant(line.device, root_device, descriptions());
        std::string closed;
        if (meant.empty())
            closed = line.device + ", which is not on " + (disks_.size() > 1 ? "these disks" : "this disk");
        else if (meant.size() > 1)
            closed = fmt::format("{}, which may be {} or {}", line.device, spelled(meant.front()),
                                 spelled(meant.back()));
        else if (placed.contains(meant.front()) && is_numbered(line.device) &&
                 std::find(mounts.begin(), mounts.end(), MountPoint{line.path, meant.front()}) ==
                     mounts.end())
            closed = fmt::format("{}, but {} is mounted elsewhere", line.device, spelled(meant.front()));
        else if (placed.contains(meant.front()))
            continue;
        else
            closed = why_closed(meant.front());
        if (closed.empty() && is_numbered(line.device) && meant.front().disk != 0)
            notes_.push_back(
                fmt::format("{}: {} is taken for {}", line.path, line.device, spelled(meant.front())));
        if (closed.empty())
            mounts.push_back({line.path, meant.front()});
        else if (may_hold_references(line.path))
            unsearchable_.push_back({line.path, closed});
        else if (meant.size() == 1)
            notes_.push_back(fmt::format("{} is {}; nothing in it is changed", line.path, closed));
        placed.insert(meant.begin(), meant.end());
    }
}

// What boots is looked through even if nothing says where it is mounted (systemd-gpt-auto-generator(8) mounts
// it by type).
void DiskSystem::find_boot_partitions(std::vector<MountPoint>& mounts, std::set<PartitionId>& placed) {
    for (const PartitionId id : partitions()) {
        const layout::Partition& part = partition(id).partition;
        if (!is_boot_type(disks_[id.disk].description(), part) || !placed.insert(id).second) continue;
        std::string path = default_place_of(part, root());
        const auto is_there = [&](const auto& mount) { return mount.path == path; };
        if (std::any_of(mounts.begin(), mounts.end(), is_there) ||
            std::any_of(unsearchable_.begin(), unsearchable_.end(), is_there))
            // One of several; it must not hide the other.
            path = place_beside(id);
        const std::string closed = why_closed(id);
        if (closed.empty())
            mounts.push_back({path, id});
        else
            unsearchable_.push_back({path, closed});
    }
}

std::vector<std::string> DiskSystem::boot_folders() {
    std::vector<std::string> folders = {"/boot", "/efi"};
    for (const MountPoint& mount : mounts_)
        if (is_fat(partition(mount.partition)) ||
            is_boot_type(disks_[mount.partition.disk].description(), partition(mount.partition).partition))
            if (std::find(folders.begin(), folders.end(), mount.path) == folders.end())
                folders.push_back(mount.path);
    return folders;
}

}  // namespace dupengine::profiles
