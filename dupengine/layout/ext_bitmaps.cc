#include "layout/ext_bitmaps.h"

namespace dupengine::layout {

std::span<std::byte> BitmapReader::read(std::uint64_t group) {
    if (blocks_[group] == 0) return {};
    if (group < first_ || group >= first_ + count_) fetch(group);
    return std::span(buffer_).subspan((group - first_) * block_bytes_, block_bytes_);
}

void BitmapReader::fetch(std::uint64_t group) {
    constexpr std::uint64_t kMost = 64;
    first_ = group;
    count_ = 1;
    while (count_ < kMost && group + count_ < blocks_.size() &&
           blocks_[group + count_] == blocks_[group] + count_)
        ++count_;
    const ByteOffset at = blocks_[group] * block_bytes_;
    buffer_ = block::read_extent(part_, {at, at + count_ * block_bytes_});
}

std::uint64_t count_ones(std::span<const std::byte> bitmap, std::uint64_t count) {
    std::uint64_t ones = 0;
    for_each_run(bitmap, count, [&](std::uint64_t begin, std::uint64_t end) { ones += end - begin; });
    return ones;
}

}  // namespace dupengine::layout
