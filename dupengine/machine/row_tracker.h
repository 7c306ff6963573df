#pragma once
// What is written to several disks that are followed as one, told by the kernel: a WriteTracker for each.
// Threads and errors as WriteTracker.

#include <memory>
#include <string>
#include <vector>

#include "machine/change_tracker.h"
#include "machine/write_tracker.h"

namespace dupengine::machine {

/// A whole disk, and where it lies among those that are followed with it.
struct FollowedDisk {
    std::string path;
    std::uint64_t size_bytes = 0;
    ByteOffset begin = 0;
    std::uint32_t sector_bytes = 0;  ///< 0: as the row has it
};

class RowTracker final : public ChangeTracker {
  public:
    explicit RowTracker(const std::vector<FollowedDisk>& disks);
    /// As WriteTracker, in offsets of the row.
    block::ExtentSet take() override;
    std::uint64_t pending_bytes(const block::ExtentSet& without) const override;
    bool was_written(const block::ExtentSet& without) const override { return pending_bytes(without) != 0; }

  private:
    struct Tracked {
        FollowedDisk disk;
        std::unique_ptr<WriteTracker> tracker;
    };
    std::vector<Tracked> disks_;
};

}  // namespace dupengine::machine
