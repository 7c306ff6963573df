#pragma once
// What is written to several disks that are followed as one (block/disk_row.h): a tracker for each. Threads
// and errors as WriteTracker.

#include <memory>
#include <string>
#include <vector>

#include "machine/write_tracker.h"

namespace dupengine::machine {

/// A whole disk, and where it lies among those that are followed with it.
struct FollowedDisk {
    std::string path;
    std::uint64_t size_bytes = 0;
    ByteOffset begin = 0;
};

class RowTracker {
  public:
    explicit RowTracker(const std::vector<FollowedDisk>& disks);
    /// As WriteTracker, in offsets of the row.
    block::ExtentSet take();
    std::uint64_t pending_bytes(const block::ExtentSet& without = {}) const;

  private:
    struct Tracked {
        FollowedDisk disk;
        std::unique_ptr<WriteTracker> tracker;
    };
    std::vector<Tracked> disks_;
};

}  // namespace dupengine::machine
