#include "machine/written_elsewhere.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;

// Kernel objects, and memory: nothing of them outlives the machine.
constexpr std::array kInMemory = {"autofs",    "bdev",    "binfmt_misc", "bpf",        "cgroup",    "cgroup2",
                                  "configfs",  "debugfs", "devpts",      "devtmpfs",   "efivarfs",  "fusectl",
                                  "hugetlbfs", "mqueue",  "nsfs",        "overlay",    "proc",      "pstore",
                                  "ramfs",     "resctrl", "rpc_pipefs",  "securityfs", "selinuxfs", "smackfs",
                                  "sysfs",     "tmpfs",   "tracefs",     "rootfs"};

bool is_in_memory(const std::string& type) {
    return std::ranges::find(kInMemory, type) != kInMemory.end() || type == "fuse.lxcfs" ||
           type == "fuse.portal" || type == "fuse.gvfsd-fuse";
}

bool has_word(const std::string& list, const std::string& word) {
    std::istringstream words(list);
    for (std::string found; std::getline(words, found, ',');)
        if (found == word) return true;
    return false;
}

// proc(5), mountinfo: id, parent, major:minor, root, point, options, optional fields up to "-", type, source,
// options of the filesystem.
struct MountLine {
    std::uint64_t device = 0;
    std::string point, options, type, source, filesystem_options;
    bool is_written() const {
        return has_word(filesystem_options, "rw") && !is_in_memory(type) && !point.empty();
    }
};

MountLine parse(const std::string& line) {
    std::istringstream words(line);
    MountLine mount;
    std::string id, parent, number, root, word;
    words >> id >> parent >> number >> root >> mount.point >> mount.options;
    while (words >> word && word != "-") {
    }
    words >> mount.type >> mount.source >> mount.filesystem_options;
    const std::size_t colon = number.find(':');
    if (colon != std::string::npos)
        mount.device = makedev(static_cast<unsigned>(std::strtoul(number.c_str(), nullptr, 10)),
                               static_cast<unsigned>(std::strtoul(number.c_str() + colon + 1, nullptr, 10)));
    return mount;
}

// One process of each mount namespace.
std::vector<std::string> views(const std::string& proc) {
    std::vector<std::string> found = {proc + "/self"};
    std::set<std::string> seen;
    std::error_code gone;
    seen.insert(fs::read_symlink(proc + "/self/ns/mnt", gone).string());
    for (const auto& entry : fs::directory_iterator(proc, gone)) {
        const std::string name = entry.path().filename();
        if (!std::ranges::all_of(name, [](unsigned char c) { return std::isdigit(c) != 0; })) continue;
        const std::string space = fs::read_symlink(entry.path() / "ns/mnt", gone).string();
        if (!space.empty() && seen.insert(space).second) found.push_back(entry.path());
    }
    return found;
}

std::string disk_folder_of(const std::string& path, const std::string& sys) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0 || !S_ISBLK(st.st_mode)) return "";
    std::error_code gone;
    const fs::path folder =
        fs::canonical(fmt::format("{}/dev/block/{}:{}", sys, major(st.st_rdev), minor(st.st_rdev)), gone);
    return fs::exists(folder / "partition", gone) ? folder.parent_path() : folder;
}

// zram keeps in memory what is swapped to it, unless it was given a disk (Linux:
// Documentation/admin-guide/blockdev/zram.rst, backing_dev).
bool is_in_memory_only(const std::string& swap, const std::string& sys) {
    if (!swap.starts_with("/dev/zram")) return false;
    std::ifstream backing(sys + "/block/" + swap.substr(5) + "/backing_dev");
    std::string line;
    return !std::getline(backing, line) || line == "none";
}

}  // namespace

std::vector<std::string> written_elsewhere(const std::vector<std::string>& disks, const DiskUses& uses,
                                           const layout::SystemRoots& roots) {
    const std::string names = fmt::format("{}", fmt::join(disks, ", "));
    std::vector<std::string> found;
    std::set<std::uint64_t> known;
    for (const MountPlace& mount : uses.mounts)
        known.insert(mount.filesystem);
    for (const std::string& view : views(roots.proc)) {
        std::ifstream lines(view + "/mountinfo");
        for (std::string line; std::getline(lines, line);) {
            const MountLine mount = parse(line);
            if (!mount.is_written() || !known.insert(mount.device).second) continue;
            found.push_back(fmt::format("{} ({} of {}) can be written, and is not on {}", mount.point,
                                        mount.type, mount.source, names));
        }
    }
    std::set<std::string> own;
    for (const std::string& disk : disks)
        own.insert(disk_folder_of(disk, roots.sys));
    own.erase("");
    std::ifstream swaps(roots.proc + "/swaps");
    std::string line;
    for (std::getline(swaps, line); std::getline(swaps, line);) {
        std::istringstream words(line);
        std::string path, type;
        words >> path >> type;
        struct stat st {};
        const bool is_on_it =
            type == "file"
                ? ::stat(path.c_str(), &st) == 0 &&
                      std::ranges::any_of(
                          uses.mounts, [&](const MountPlace& mount) { return mount.filesystem == st.st_dev; })
                : own.contains(disk_folder_of(path, roots.sys));
        if (!is_on_it && !is_in_memory_only(path, roots.sys))
            found.push_back(fmt::format("{} is swap, and not on {}: swapoff {}", path, names, path));
    }
    return found;
}

}  // namespace dupengine::machine
