#pragma once
// Who is using a disk or an image file now, in any mount namespace and under any name. Reads /proc and /sys;
// the roots are parameters so that tests can show it made-up machines. Never opens the device for writing.

#include <optional>
#include <string>
#include <vector>

#include "block/extent.h"
#include "block/open.h"

namespace dupengine::layout {

struct Use {
    enum class Kind { kMounted, kSwap, kHolder, kLoopBacking, kOpenExclusively };
    Kind kind = Kind::kMounted;
    std::string device;  ///< the disk itself or the partition that is used: "/dev/sda2", "/dev/loop3"
    /// What it is and what ends it: "mounted on /home: umount /home", "swap: swapoff /dev/sda3", ...
    std::string detail;
    /// What of the asked device or file is used, in its own bytes; empty if all of it is (or may be).
    std::optional<block::Extent> part;
    /// Of something mounted: one of its mounts.
    struct Mount {
        std::string path;  ///< for this process ("/proc/PID/root/..." if it is mounted in another namespace)
        std::uint64_t id = 0;          ///< the kernel's (statx(2), stx_mnt_id)
        std::uint64_t filesystem = 0;  ///< its device number: the same for all mounts of one, subvolumes too
    };
    std::optional<Mount> mount = {};  ///< empty for all else, and for one that no process shows
    bool leaves_by_itself = false;    ///< a loop device: when the last one closes it
};
/// "mounted", "swap", "holder", "loop", "exclusive": the word used in JSON.
const char* use_kind_name(Use::Kind kind);

struct SystemRoots {
    std::string proc = "/proc";
    std::string sys = "/sys";
    std::string dev = "/dev";  ///< loop devices are asked for their file by descriptor
};

/// Every use of `path` (a block device, with all its partitions, its whole disk when `path` is a partition of
/// a disk that is used whole, and everything stacked on them: dm, md, loop, ...; or a regular file: loop
/// devices on it and what those are used for, active swap files). Mounts are found in every process's
/// mountinfo, by device number, so another name or another mount namespace hides nothing. A read-only mount
/// counts. Where nothing uses it but loop devices that go away when they are closed, it is looked at again
/// for up to a second: whoever looks at all loop devices, as this does, keeps one for a moment that its user
/// has left. Only if nothing was found, a block device is opened with O_EXCL (for reading) to see whether
/// something else holds it. Throws kRefused if the path does not exist, kUnsupported if /proc or /sys do not
/// tell.
std::vector<Use> find_uses(const std::string& path, const SystemRoots& roots = {});
/// The same for what was identified before; without the O_EXCL test, which needs a path.
std::vector<Use> find_uses(const block::PathIdentity& what, const SystemRoots& roots);

/// Whether both paths lead to the same bytes: the same file or device by any name, a partition and its disk,
/// a loop device and its file, a mapped device and what it is made of. Two partitions of one disk do not.
bool same_storage(const std::string& a, const std::string& b, const SystemRoots& roots = {});
bool same_storage(const block::PathIdentity& a, const block::PathIdentity& b, const SystemRoots& roots);

}  // namespace dupengine::layout
