#include "layout/write_counters.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <sstream>

namespace dupengine::layout {

bool keeps_times(int fd) {
    constexpr std::array<std::uint32_t, 5> kLocal = {BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC,
                                                     TMPFS_MAGIC, XFS_SUPER_MAGIC};
    struct statfs fs {};
    if (::fstatfs(fd, &fs) != 0) return false;
    return std::find(kLocal.begin(), kLocal.end(), static_cast<std::uint32_t>(fs.f_type)) != kLocal.end();
}

std::optional<WriteCounters> read_write_counters(DeviceNumber device, const BlockGraph& graph) {
    constexpr std::size_t kSectorsRead = 2, kSectorsWritten = 6, kSectorsDiscarded = 13;
    std::array<std::uint64_t, kSectorsDiscarded + 1> columns{};
    std::istringstream text(graph.attribute(device, "stat"));
    for (std::uint64_t& column : columns)
        if (!(text >> column)) return {};
    // A partition has no queue of its own. Where no reads are counted, no writes are.
    const DeviceNumber disk = graph.whole_disk(device).value_or(device);
    const bool counts = graph.attribute(disk, "queue/iostats") == "1" && columns[kSectorsRead] != 0;
    return WriteCounters{columns[kSectorsWritten], columns[kSectorsDiscarded], counts};
}

bool is_mapped(DeviceNumber device, const BlockGraph& graph) {
    return !graph.slaves(device).empty() || !graph.attribute(device, "dm/uuid").empty() ||
           !graph.attribute(device, "md/level").empty();
}

}  // namespace dupengine::layout
