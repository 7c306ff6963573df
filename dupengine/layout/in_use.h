#pragma once
// Who is using a disk or an image file now, in any mount namespace and under any name. Reads /proc and /sys;
// the roots are parameters so that tests can show it made-up machines. Never opens the device for writing.

#include <string>
#include <vector>

namespace dupengine::layout {

struct Use {
    enum class Kind { kMounted, kSwap, kHolder, kLoopBacking, kOpenExclusively };
    Kind kind = Kind::kMounted;
    std::string device;  ///< the disk itself or the partition that is used: "/dev/sda2", "/dev/loop3"
    std::string detail;  ///< "mounted on /home", "swap", "holds dm-0 (vg-root)", "backs /dev/loop3", ...
};

struct SystemRoots {
    std::string proc = "/proc";
    std::string sys = "/sys";
};

/// Every use of `path` (a block device, with all its partitions, its whole disk when `path` is a partition of
/// a disk that is used whole, and everything stacked on them: dm, md, loop, ...; or a regular file: loop
/// devices on it and what those are used for, active swap files). Mounts are found in every process's
/// mountinfo, by device number, so another name or another mount namespace hides nothing. A read-only mount
/// counts. Throws kRefused if the path does not exist.
std::vector<Use> find_uses(const std::string& path, const SystemRoots& roots = {});

/// Whether both paths lead to the same bytes: the same file or device by any name, a partition and its disk,
/// a loop device and its file.
bool same_storage(const std::string& a, const std::string& b, const SystemRoots& roots = {});

}  // namespace dupengine::layout
