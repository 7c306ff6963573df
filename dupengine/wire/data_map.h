#pragma once
// Where the disk at the other end may hold data: asked for in long stretches, as they are wanted, and
// remembered. From any thread.

#include <deque>

#include "wire/link.h"

namespace dupengine::wire {

class DataMap {
  public:
    explicit DataMap(Link& link) : link_(link) {}
    /// As Reader::next_data.
    block::Extent next_data(block::Extent within);

  private:
    struct Stretch {
        block::Extent known;
        std::vector<block::Extent> data;
    };
    const Stretch& stretch_at(ByteOffset at);
    Link& link_;
    std::mutex mutex_;
    std::deque<Stretch> stretches_;  // the one asked for last first
};

}  // namespace dupengine::wire
