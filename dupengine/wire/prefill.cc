#include "wire/prefill.h"

#include <algorithm>

#include "wire/pieces.h"

namespace dupengine::wire {

void PrefillStore::add(const Prefill& prefill) {
    const std::size_t size = count_piece_bytes(prefill.pieces);
    const std::lock_guard lock(mutex_);
    // Each part counts with what the map needs for it, too.
    constexpr std::size_t kOverhead = 128;
    if (size == 0 || stored_ + prefill.pieces.size() + kOverhead > kMostStored) return;
    const auto [at, is_new] = parts_.try_emplace(prefill.offset);
    if (!is_new) return;  // told again, after a connection broke
    at->second = {size, {prefill.pieces.begin(), prefill.pieces.end()}};
    stored_ += prefill.pieces.size() + kOverhead;
}

const Bytes* PrefillStore::unpacked(ByteOffset begin, const Part& part) const {
    if (unpacked_at_ != begin) {
        unpacked_at_.reset();
        unpacked_.resize(part.size);
        decode_pieces(part.pieces, unpacked_);
        unpacked_at_ = begin;
    }
    return &unpacked_;
}

bool PrefillStore::read(ByteOffset offset, std::span<std::byte> buffer) const {
    const std::lock_guard lock(mutex_);
    while (!buffer.empty()) {
        auto at = parts_.upper_bound(offset);
        if (at == parts_.begin()) return false;
        --at;
        const std::uint64_t inside = offset - at->first;
        if (inside >= at->second.size) return false;
        const std::size_t count = std::min<std::uint64_t>(buffer.size(), at->second.size - inside);
        const Bytes& bytes = *unpacked(at->first, at->second);
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(inside), count, buffer.begin());
        buffer = buffer.subspan(count);
        offset += count;
    }
    return true;
}

void PrefillStore::clear() {
    const std::lock_guard lock(mutex_);
    parts_.clear();
    unpacked_ = {};
    unpacked_at_.reset();
    stored_ = 0;
}

}  // namespace dupengine::wire
