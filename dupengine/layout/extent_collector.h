#pragma once
// Gathers the used runs of a filesystem in ascending order, in bounded memory. Up to kLimit runs the result
// is exact; a filesystem in more pieces than that gets its smallest gaps counted as used, which copies a
// little more and never less. Used by one thread.

#include <algorithm>
#include <utility>

#include "block/extent.h"

namespace dupengine::layout {

class ExtentCollector {
  public:
    static constexpr std::size_t kLimit = std::size_t{1} << 19;  // 8 MiB of extents

    explicit ExtentCollector(std::size_t limit = kLimit) : limit_(limit) {}

    /// `run` begins at or behind the beginning of every run before it.
    void add(block::Extent run) {
        if (run.empty()) return;
        if (gap_ != 0 && !set_.empty() && run.begin > end_ && run.begin - end_ < gap_) run.begin = end_;
        set_.insert(run);
        end_ = std::max(end_, run.end);
        while (set_.count() > limit_) {
            gap_ = gap_ == 0 ? 4096 : gap_ * 2;
            set_ = set_.bridged(gap_);
        }
    }

    block::ExtentSet take() { return std::exchange(set_, {}); }

  private:
    std::size_t limit_;
    block::ExtentSet set_;
    ByteOffset end_ = 0;
    std::uint64_t gap_ = 0;
};

}  // namespace dupengine::layout
