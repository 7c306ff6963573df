#pragma once
// What this process sees mounted below a folder: /proc/self/mountinfo (proc_pid_mountinfo(5)). Pure but for
// reading it.

#include <cstdint>
#include <string>
#include <vector>

namespace dupengine::profiles {

struct OwnMount {
    std::string path;          ///< below the folder: "/", "/boot"
    std::uint64_t device = 0;  ///< of the file system, as st_dev
    std::string subtree;       ///< what of it is mounted: "/" for all
    std::string type;          ///< "ext4", "vfat", ...
};

/// In the order of the text. Of several at one path, which hide each other, only the uppermost.
std::vector<OwnMount> parse_own_mounts(const std::string& mountinfo, const std::string& folder);
std::vector<OwnMount> own_mounts(const std::string& folder);

}  // namespace dupengine::profiles
