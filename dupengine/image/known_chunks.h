#pragma once
// Which chunks a store holds already. Half of a digest is kept of each, so one has to be looked at before it
// is believed (candidates may be others by chance). Bounded: of a store with more chunks than it has room
// for, those that were put in first are known; the others are stored again, which costs room and nothing
// else. One thread at a time.

#include <cstdint>
#include <vector>

#include "codec/digest.h"

namespace dupengine::image {

class KnownChunks {
  public:
    struct Location {
        std::uint32_t pack = 0, entry = 0;
    };
    /// They take 32 MiB.
    static constexpr std::size_t kMost = (std::size_t{2} << 20) / 8 * 7;
    explicit KnownChunks(std::size_t most = kMost) : most_(most) {}

    /// Of several chunks with the same half only the first is kept.
    void insert(const codec::Sha256& sha256, Location location);
    /// Null if it is not there.
    const Location* find(const codec::Sha256& sha256) const;
    std::size_t count() const { return count_; }

  private:
    struct Slot {
        std::uint64_t half = 0;  // 0: free; a digest whose half is 0 is never known
        Location location;
    };
    std::size_t slot_of(std::uint64_t half) const;
    void grow();
    std::vector<Slot> slots_;
    std::size_t count_ = 0, most_;
};

}  // namespace dupengine::image
