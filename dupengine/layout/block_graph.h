#pragma once
// The block devices of this machine as the kernel tells of them: which is a partition of which, which stands
// on which, what a loop device reads. Reads sysfs, and opens loop devices for reading to ask for their file.
// A device that goes away while it is looked at is left out. Private to layout/; one object is used by one
// thread.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/extent.h"
#include "block/open.h"
#include "layout/in_use.h"

namespace dupengine::layout {

using DeviceNumber = std::uint64_t;

/// Another process or kernel may take a file of /proc or /sys away at any time: then it is empty.
std::optional<std::string> read_if_there(const std::string& path);
/// "8:1" as a device number.
std::optional<DeviceNumber> parse_device_number(const std::string& text);

struct LoopBinding {
    DeviceNumber device = 0;
    std::optional<block::PathIdentity>
        backing;  ///< empty if the kernel would not say and no path leads there
    /// The filesystem that the backing file lies on (its device number); of no meaning if a device is
    /// backing.
    DeviceNumber filesystem = 0;
    std::string backing_name;  ///< as the kernel shows it: a name of another mount namespace, perhaps deleted
    block::Extent range;       ///< of the backing file or device
    bool leaves_by_itself = false;  ///< when the last one closes it (LO_FLAGS_AUTOCLEAR)
};

class BlockGraph {
  public:
    /// Throws kUnsupported if `roots.sys` shows no block devices at all (sysfs is not mounted).
    explicit BlockGraph(const SystemRoots& roots);

    bool knows(DeviceNumber device) const;
    std::string kernel_name(DeviceNumber device) const;  ///< "sda2", "cciss/c0d0", or "8:2" if it is gone
    std::string node(DeviceNumber device) const;         ///< "/dev/sda2"
    /// The disk that `device` is a partition of.
    std::optional<DeviceNumber> whole_disk(DeviceNumber device) const;
    /// A partition's place on its disk; [0, size) of anything else.
    block::Extent extent_on_disk(DeviceNumber device) const;
    std::vector<DeviceNumber> partitions(DeviceNumber disk) const;
    std::vector<DeviceNumber> holders(DeviceNumber device) const;  ///< what the kernel has stacked on it
    std::vector<DeviceNumber> slaves(DeviceNumber device) const;   ///< what it is stacked on
    std::vector<DeviceNumber> mapped_devices() const;              ///< those of device-mapper
    std::optional<DeviceNumber> device_named(const std::string& kernel_name) const;
    /// One attribute of a device, without its line end: attribute(dm0, "dm/name").
    std::string attribute(DeviceNumber device, const std::string& name) const;

    const std::vector<LoopBinding>& loops() const { return loops_; }
    const LoopBinding* loop(DeviceNumber device) const;

  private:
    std::string folder(DeviceNumber device) const;
    std::vector<DeviceNumber> listed(DeviceNumber device, const char* folder_name) const;
    void read_loops();
    std::optional<LoopBinding> read_loop(DeviceNumber device) const;
    bool ask_loop(LoopBinding& binding) const;
    void guess_backing(LoopBinding& binding) const;

    SystemRoots roots_;
    std::vector<LoopBinding> loops_;
};

}  // namespace dupengine::layout
