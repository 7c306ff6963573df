#pragma once
// What is mounted in any mount namespace that a process lives in, and what the kernel swaps to. Reads /proc
// and /sys/fs/btrfs. Processes that end meanwhile are left out; a namespace without any process is not seen
// (the O_EXCL test of in_use.h sees what it holds). Private to layout/. Pure apart from reading; safe from
// any thread.

#include <string>
#include <string_view>
#include <vector>

#include "layout/block_graph.h"

namespace dupengine::layout {

struct Mount {
    std::uint64_t id = 0;     ///< the kernel's, the same in every view of one mount
    DeviceNumber device = 0;  ///< of the filesystem; its major is 0 (anonymous) for btrfs, fuse, tmpfs, ...
    std::string point;        ///< as the process `seen_by` sees it
    std::string type;
    std::string source;
    /// What the source leads to, where `device` does not tell it: all the devices of a btrfs; a file under
    /// fuse.
    std::vector<block::PathIdentity> sources;
    /// The process that sees it, when this process does not; otherwise 0.
    unsigned seen_by = 0;
};

/// Throws kUnsupported if `roots.proc` shows no process's mounts at all (procfs is not mounted).
std::vector<Mount> all_mounts(const SystemRoots& roots, const BlockGraph& graph);

struct SwapArea {
    std::string path;
    block::PathIdentity where;
    DeviceNumber filesystem = 0;  ///< that a swap file lies on
};
std::vector<SwapArea> active_swaps(const SystemRoots& roots, const BlockGraph& graph);

/// The devices of each btrfs that the kernel has open. mountinfo names one of them only.
struct BtrfsGroup {
    std::string uuid;
    std::vector<DeviceNumber> devices;
};
std::vector<BtrfsGroup> btrfs_groups(const SystemRoots& roots, const BlockGraph& graph);

/// Undoes the octal escapes of /proc ("\040" is a space).
std::string unescape_octal(std::string_view text);

}  // namespace dupengine::layout
