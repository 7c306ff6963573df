#pragma once
// The guard of firmware: the only way to write to a disk, as block/guard.h is everywhere else. A write that
// touches a protected region, passes the end or is not made of whole sectors is not done, and neither is any
// write after it.

#include <array>

#include "efi/core/disk.h"

namespace dupengine::efi {

struct Region {
    std::uint64_t begin = 0, end = 0;
    bool touches(Region other) const { return begin < other.end && other.begin < end; }
    bool operator==(const Region&) const = default;
};

inline constexpr std::size_t kMostRegions = 8;

class GuardedTarget {
  public:
    GuardedTarget(WritableDisk& disk, std::span<const Region> kept);

    Disk& disk() { return disk_; }
    bool write(std::uint64_t offset, Bytes bytes);
    bool flush();
    std::span<const Region> kept() const { return std::span(kept_).first(count_); }
    /// Whether a write was refused, rather than failed.
    bool refused() const { return refused_; }

  private:
    WritableDisk& disk_;
    std::array<Region, kMostRegions> kept_;
    std::size_t count_ = 0;
    bool refused_ = false;
};

}  // namespace dupengine::efi
