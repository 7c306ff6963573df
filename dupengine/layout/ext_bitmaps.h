#pragma once
// Block bitmaps of ext filesystems: read in few requests, walked 64 bits at a time. Internal to layout/. Used
// by one thread at a time.

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "block/device.h"
#include "layout/ext_super.h"

namespace dupengine::layout {

/// Reads bitmaps, several at once where they lie side by side: on a disk that turns, one seek for sixteen
/// groups.
class BitmapReader {
  public:
    /// `blocks`: where the bitmap of each group lies, 0 for a group that has none on disk.
    BitmapReader(const block::Reader& part, const ExtGeometry& geometry, std::vector<std::uint64_t> blocks)
        : part_(part), block_bytes_(geometry.block_bytes), blocks_(std::move(blocks)) {}

    /// The bitmap of `group`, one block, the caller's to change until the next call; empty if the group has
    /// none.
    std::span<std::byte> read(std::uint64_t group);

  private:
    void fetch(std::uint64_t group);

    const block::Reader& part_;
    std::uint64_t block_bytes_;
    std::vector<std::uint64_t> blocks_;
    std::uint64_t first_ = 0, count_ = 0;
    Bytes buffer_;
};

/// Calls `take(begin, end)` for every run of ones among the first `count` bits, ascending. 64 bits at a time.
template <typename Take>
void for_each_run(std::span<const std::byte> bitmap, std::uint64_t count, Take take) {
    std::uint64_t begin = 0;
    bool inside = false;
    for (std::uint64_t at = 0; at < count;) {
        const std::size_t byte = at / 64 * 8;
        std::uint64_t word = 0;
        std::memcpy(&word, bitmap.data() + byte, std::min<std::size_t>(8, bitmap.size() - byte));
        word = (inside ? ~word : word) >> (at % 64);  // the next change is the next one
        const std::uint64_t same = std::min<std::uint64_t>(std::countr_zero(word), 64 - at % 64);
        at = std::min(at + same, count);
        if (word == 0 || at == count) continue;
        if (inside) take(begin, at);
        begin = at;
        inside = !inside;
    }
    if (inside) take(begin, count);
}

/// How many of the first `count` bits are ones.
std::uint64_t count_ones(std::span<const std::byte> bitmap, std::uint64_t count);

}  // namespace dupengine::layout
