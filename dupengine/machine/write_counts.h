#pragma once
// Whether something was written to a disk in a moment in which nothing should be: what the kernel counts of
// its requests (Documentation/block/stat.rst). It does not tell where, and not what programs pass to the
// disk's driver by themselves (sg). Partitions that are swap are counted out. Used by one thread.

#include <string>
#include <vector>

#include "block/extent.h"

namespace dupengine::machine {

class WriteCounts {
  public:
    /// `folder` is that of a whole disk in /sys. Throws kRefused if the kernel does not count there.
    WriteCounts(std::string disk, std::string folder);
    /// From here on, but for partitions that `swap` touches.
    void begin(const block::ExtentSet& swap);
    /// Something was written since, or is being written.
    bool has_moved() const;

  private:
    std::string disk_, folder_;
    std::vector<std::string> swap_folders_;
    std::uint64_t at_begin_ = 0;
};

}  // namespace dupengine::machine
