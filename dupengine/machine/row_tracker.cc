#include "machine/row_tracker.h"

#include "block/changes.h"

namespace dupengine::machine {

RowTracker::RowTracker(const std::vector<FollowedDisk>& disks) {
    for (const FollowedDisk& disk : disks)
        disks_.push_back({disk, std::make_unique<WriteTracker>(disk.path, disk.size_bytes)});
}

// Each in so few extents that all together are not too many: what lies between two disks belongs to none.
block::ExtentSet RowTracker::take() {
    block::ExtentSet all;
    for (const Tracked& one : disks_)
        all.insert(one.tracker->take(block::kMostChanges / disks_.size()).shifted(one.disk.begin));
    return all;
}

std::uint64_t RowTracker::pending_bytes(const block::ExtentSet& without) const {
    std::uint64_t bytes = 0;
    for (const auto& [disk, tracker] : disks_) {
        block::ExtentSet on_it;
        for (const block::Extent e : without.clipped_to({disk.begin, disk.begin + disk.size_bytes}))
            on_it.insert({e.begin - disk.begin, e.end - disk.begin});
        bytes += tracker->pending_bytes(on_it);
    }
    return bytes;
}

}  // namespace dupengine::machine
