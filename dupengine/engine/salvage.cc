#include "engine/salvage.h"

#include <algorithm>

namespace dupengine::engine {
namespace {

using block::Extent;

// Together with the failed reads of all larger ranges around it.
constexpr int kTriesOfASector = 3;

bool try_to_read(Slot& slot, const block::Reader& source, Extent extent) {
    try {
        source.read_from_medium(extent.begin, slot.bytes_of(extent));
        return true;
    } catch (const Error& e) {
        if (e.code() != Code::kSourceIo) throw;
        return false;
    }
}

void salvage_range(Slot& slot, const block::Reader& source, Extent extent, BadSectors& bad) {
    if (try_to_read(slot, source, extent)) return;
    const std::uint64_t sector = source.geometry().logical_sector_bytes;
    if (extent.size() > sector) {
        const ByteOffset middle = align_up(extent.begin + extent.size() / 2, sector);
        const ByteOffset cut = middle < extent.end ? middle : align_down(extent.end - 1, sector);
        salvage_range(slot, source, {extent.begin, cut}, bad);
        salvage_range(slot, source, {cut, extent.end}, bad);
        return;
    }
    for (int i = 1; i < kTriesOfASector; ++i)
        if (try_to_read(slot, source, extent)) return;
    std::ranges::fill(slot.bytes_of(extent), std::byte{0});
    bad.add(extent);
}

}  // namespace

void BadSectors::add(Extent extent) {
    const std::lock_guard lock(mutex_);
    extents_.insert(extent);
}

block::ExtentSet BadSectors::extents() const {
    const std::lock_guard lock(mutex_);
    return extents_;
}

void salvage(Slot& slot, const block::Reader& source, BadSectors& bad) {
    const ByteOffset readable_end = source.geometry().size_bytes;
    for (Extent e : slot.chunk.extents) {
        const Extent readable = e.clipped_to({0, readable_end});
        if (readable.size() < e.size())  // the last sector of an odd-sized source
            std::ranges::fill(slot.bytes_of({std::max(e.begin, readable_end), e.end}), std::byte{0});
        if (!readable.empty()) salvage_range(slot, source, readable, bad);
    }
}

}  // namespace dupengine::engine
