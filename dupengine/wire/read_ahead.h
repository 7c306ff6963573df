#pragma once
// Reading in the order of the plan, ahead of whoever copies: batches of what is expected are asked for before
// they are wanted, so that the way over the wire is never waited for. What nobody fetches is forgotten. At
// most kMostBatches x kMostAsked are kept. From any thread.

#include <condition_variable>
#include <deque>

#include "wire/link.h"

namespace dupengine::wire {

class ReadAhead {
  public:
    /// `expected` outlives it.
    ReadAhead(Link& link, const block::ExtentSet& expected) : link_(link), expected_(expected) {}
    /// Fills the buffer with what lies at `offset`, as far as it is expected; the rest is zeros.
    void read(ByteOffset offset, std::span<std::byte> buffer);

    static constexpr std::size_t kAhead = 16, kBehind = 8;

  private:
    struct Batch {
        block::Extent place;                 // from its first byte to its last
        std::vector<block::Extent> extents;  // of at most kMostAsked bytes
        std::mutex mutex;
        Link::Asked asked;  // with its mutex, as what follows; null: it has come
        Bytes bytes;        // unpacked, if it was fetched in parts
    };
    using Shared = std::shared_ptr<Batch>;
    Shared ask_for(ByteOffset from);
    Link::Asked ask(const Batch& batch);
    Shared batch_at(ByteOffset at);
    void go_ahead(const Shared& used);
    void fetch(Batch& batch, block::Extent wanted, ByteOffset offset, std::span<std::byte> buffer);

    Link& link_;
    const block::ExtentSet& expected_;
    std::mutex mutex_;
    std::deque<Shared> batches_;  // ascending
};

}  // namespace dupengine::wire
