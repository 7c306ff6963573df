#include "image/known_chunks.h"

#include <algorithm>

namespace dupengine::image {
namespace {

std::uint64_t half_of(const codec::Sha256& sha256) {
    return load_le<std::uint64_t>(sha256, 0);
}

}  // namespace

std::size_t KnownChunks::slot_of(std::uint64_t half) const {
    // Digests are as good as random: no hash of them is needed.
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = half & mask;
    while (slots_[at].half != 0 && slots_[at].half != half)
        at = (at + 1) & mask;
    return at;
}

void KnownChunks::grow() {
    std::vector<Slot> old(std::max<std::size_t>(1024, slots_.size() * 2));
    old.swap(slots_);
    for (const Slot& slot : old)
        if (slot.half != 0) slots_[slot_of(slot.half)] = slot;
}

void KnownChunks::insert(const codec::Sha256& sha256, Location location) {
    const std::uint64_t half = half_of(sha256);
    if (half == 0 || count_ >= most_) return;
    if (count_ + 1 > slots_.size() / 8 * 7) grow();
    Slot& slot = slots_[slot_of(half)];
    if (slot.half != 0) return;
    slot = {half, location};
    ++count_;
}

const KnownChunks::Location* KnownChunks::find(const codec::Sha256& sha256) const {
    if (slots_.empty()) return nullptr;
    const std::uint64_t half = half_of(sha256);
    const Slot& slot = slots_[slot_of(half)];
    return half != 0 && slot.half == half ? &slot.location : nullptr;
}

}  // namespace dupengine::image
