#pragma once
// What shows that a block device is written while it is read: the kernel counts what is written and discarded
// from the moment the device appears. Never writes.

#include <cstdint>
#include <optional>

#include "layout/block_graph.h"

namespace dupengine::layout {

/// Documentation/block/stat.rst
struct WriteCounters {
    std::uint64_t sectors_written = 0, sectors_discarded = 0;
    /// It is known that this device's transfers are counted: some reads are.
    bool counts = false;
};

/// Of the device itself: a partition has its own. Empty if the kernel shows none.
std::optional<WriteCounters> read_write_counters(DeviceNumber device, const BlockGraph& graph);

/// Device-mapper or md: its parts can be exchanged, and written below it.
bool is_mapped(DeviceNumber device, const BlockGraph& graph);

/// An open file is on a filesystem of this machine alone, of those that give a file a new time when it is
/// written, and only then.
bool keeps_times(int fd);

}  // namespace dupengine::layout
