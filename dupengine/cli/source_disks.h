#pragma once
// The disks of this machine that `clone` sends: each by itself, and all of them as one where that is what is
// followed and offered (block/disk_row.h).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/disk_row.h"
#include "block/open.h"
#include "machine/row_tracker.h"

namespace dupengine::cli {

class SourceDisks {
  public:
    /// Opens them, for reading. Throws kUsage for a disk that is named twice, and as open_source().
    explicit SourceDisks(const std::vector<std::string>& paths);

    /// The disk, or all in a row.
    const block::Reader& reader() const {
        return row_ ? static_cast<const block::Reader&>(*row_) : *disks_.front();
    }
    /// Empty for one disk.
    std::vector<block::RowPlace> row() const;
    const std::vector<const block::Reader*>& disks() const { return readers_; }
    std::vector<std::uint64_t> sizes() const;
    const std::vector<machine::FollowedDisk>& followed() const { return followed_; }
    /// "/dev/sda, /dev/sdb".
    const std::string& name() const { return reader().name(); }
    /// As SourceHold, until the end.
    void hold();

  private:
    std::vector<std::unique_ptr<block::Reader>> disks_;
    std::vector<const block::Reader*> readers_;
    std::optional<block::DiskRow> row_;
    std::vector<machine::FollowedDisk> followed_;
    std::vector<std::unique_ptr<block::SourceHold>> holds_;
};

}  // namespace dupengine::cli
