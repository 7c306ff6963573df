#pragma once
// Half-open byte ranges and ordered sets of them. A set never holds empty, touching or overlapping extents.
// Value types; an ExtentSet that is not being changed may be read from any thread.

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace dupengine::block {

struct Extent {
    ByteOffset begin = 0;
    ByteOffset end = 0;  ///< first byte after it

    std::uint64_t size() const { return end > begin ? end - begin : 0; }
    bool empty() const { return end <= begin; }
    bool contains(ByteOffset at) const { return begin <= at && at < end; }
    bool contains(Extent other) const { return begin <= other.begin && other.end <= end; }
    bool touches(Extent other) const { return begin < other.end && other.begin < end; }
    /// The common part; empty (but never negative) if there is none.
    Extent clipped_to(Extent other) const;
    /// "[1048576, 2097152)"
    std::string text() const;
    bool operator==(const Extent&) const = default;
};

class ExtentSet {
  public:
    ExtentSet() = default;
    ExtentSet(std::initializer_list<Extent> extents);

    /// Adds a range and merges it with its neighbours. Appending in ascending order costs O(1).
    void insert(Extent extent);
    void insert(const ExtentSet& other);
    void erase(Extent extent);
    void erase(const ExtentSet& other);
    void clear() { extents_.clear(); }

    bool empty() const { return extents_.empty(); }
    std::size_t count() const { return extents_.size(); }
    std::uint64_t total_bytes() const;
    bool contains(Extent extent) const;
    bool touches(Extent extent) const;
    /// The first part of `within` that is in the set; empty if none is.
    Extent first_in(Extent within) const;
    /// What of `within` is in the set / is not.
    ExtentSet clipped_to(Extent within) const;
    ExtentSet gaps_in(Extent within) const;
    /// Every extent moved up by `distance` bytes. Throws kIntegrity on overflow.
    ExtentSet shifted(std::uint64_t distance) const;
    /// Every extent grown outwards to multiples of `unit` and clipped to [0, limit).
    ExtentSet aligned_outwards(std::uint64_t unit, ByteOffset limit) const;
    /// Joins neighbours that are less than `gap_bytes` apart: fewer, larger transfers; bounds the count.
    ExtentSet bridged(std::uint64_t gap_bytes) const;

    auto begin() const { return extents_.begin(); }
    auto end() const { return extents_.end(); }
    bool operator==(const ExtentSet&) const = default;

  private:
    std::vector<Extent>::const_iterator first_ending_after(ByteOffset at) const;
    std::vector<Extent> extents_;  // ascending, disjoint, not touching
};

}  // namespace dupengine::block
