#include "machine/disk_uses.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "layout/in_use.h"

namespace dupengine::machine {
namespace {

using block::Extent;
using layout::Use;

std::string sysfs_of(dev_t device) {
    std::error_code gone;
    return std::filesystem::canonical(fmt::format("/sys/dev/block/{}:{}", major(device), minor(device)), gone)
        .string();
}

std::uint64_t number_in(const std::string& file) {
    std::ifstream stream(file);
    std::uint64_t number = 0;
    stream >> number;
    return number;
}

// Its place on the disk; empty if it is neither a partition of it nor the disk.
Extent place_on(const std::string& disk_folder, const std::string& folder) {
    constexpr std::uint64_t kSector = 512;  // sysfs counts in these whatever the disk has
    const std::uint64_t size = number_in(folder + "/size") * kSector;
    if (folder == disk_folder) return {0, size};
    if (std::filesystem::path(folder).parent_path() != disk_folder) return {};
    const std::uint64_t begin = number_in(folder + "/start") * kSector;
    return {begin, begin + size};
}

// proc(5), /proc/swaps: "/dev/sda2   partition   262140   0   -2". A swap file is of its filesystem.
block::ExtentSet swap_on(const std::string& disk) {
    block::ExtentSet swap;
    struct stat st {};
    if (::stat(disk.c_str(), &st) != 0) return swap;
    const std::string disk_folder = sysfs_of(st.st_rdev);
    std::ifstream lines("/proc/swaps");
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string path, type;
        words >> path >> type;
        if (type != "partition" || ::stat(path.c_str(), &st) != 0 || !S_ISBLK(st.st_mode)) continue;
        Extent place = place_on(disk_folder, sysfs_of(st.st_rdev));
        place.begin += static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));  // the header, which mkswap made
        if (!place.empty()) swap.insert(place);
    }
    return swap;
}

}  // namespace

DiskUses look_at_uses(const std::string& disk) {
    DiskUses found;
    for (const Use& use : layout::find_uses(disk)) {
        const bool is_hidden = use.kind == Use::Kind::kMounted && !use.mount;
        if (is_hidden || use.kind == Use::Kind::kOpenExclusively)
            throw_error(Code::kRefused, "{}: {}: what writes to it cannot be brought to rest", use.device,
                        use.detail);
        if (use.kind == Use::Kind::kMounted)
            found.mounts.push_back({use.mount->path, use.mount->id, use.mount->filesystem});
    }
    found.swap = swap_on(disk);
    return found;
}

// A filesystem may lie on several of them.
DiskUses look_at_uses(const std::vector<FollowedDisk>& disks) {
    DiskUses all;
    for (const FollowedDisk& disk : disks) {
        const DiskUses uses = look_at_uses(disk.path);
        for (const MountPlace& mount : uses.mounts)
            if (std::ranges::find(all.mounts, mount) == all.mounts.end()) all.mounts.push_back(mount);
        all.swap.insert(uses.swap.shifted(disk.begin));
    }
    return all;
}

}  // namespace dupengine::machine
