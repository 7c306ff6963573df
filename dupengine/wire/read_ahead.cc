#include "wire/read_ahead.h"

#include <algorithm>
#include <utility>

#include "base/copy_bytes.h"
#include "wire/pieces.h"

namespace dupengine::wire {

using block::Extent;

// What is expected from `from` on, as far as the next multiple of kMostAsked: chunks end there, too. Null
// behind the last.
ReadAhead::Shared ReadAhead::ask_for(ByteOffset from) {
    const std::uint64_t size = link_.opened().geometry.size_bytes;
    auto at = std::ranges::upper_bound(expected_.begin(), expected_.end(), from, {}, &Extent::end);
    if (at == expected_.end()) return nullptr;
    from = std::max(from, at->begin);
    if (from >= size) return nullptr;
    const Extent room{from, std::min(align_down(from, kMostAsked) + kMostAsked, size)};
    auto batch = std::make_shared<Batch>();
    for (; at != expected_.end() && at->begin < room.end && batch->extents.size() < kMostExtents; ++at)
        batch->extents.push_back(at->clipped_to(room));
    batch->place = {room.begin, batch->extents.back().end};
    batch->asked = ask(*batch);
    return batch;
}

Link::Asked ReadAhead::ask(const Batch& batch) {
    return link_.ask(Type::kRead, encode(ReadRequest{block::Reader::From::kAnywhere, batch.extents}));
}

// With the mutex held.
ReadAhead::Shared ReadAhead::batch_at(ByteOffset at) {
    const auto found =
        std::ranges::find_if(batches_, [&](const Shared& batch) { return batch->place.contains(at); });
    if (found != batches_.end()) return *found;
    // A place that nobody was near to: what was asked ahead of the last one is not wanted.
    batches_.clear();
    const Shared batch = ask_for(at);
    if (batch == nullptr) throw_error(Code::kInternal, "nothing is expected at byte {}", at);
    batches_.push_back(batch);
    return batch;
}

// With the mutex held.
void ReadAhead::go_ahead(const Shared& used) {
    const auto position = [&] {
        return static_cast<std::size_t>(std::ranges::find(batches_, used) - batches_.begin());
    };
    while (position() > kBehind)
        batches_.pop_front();
    while (batches_.size() - position() <= kAhead) {
        Shared next = ask_for(batches_.back()->place.end);
        if (next == nullptr) break;
        batches_.push_back(std::move(next));
    }
}

void ReadAhead::fetch(Batch& batch, Extent wanted, ByteOffset offset, std::span<std::byte> buffer) {
    const std::lock_guard lock(batch.mutex);
    const auto place_of = [&](Extent part) { return buffer.subspan(part.begin - offset, part.size()); };
    const auto unpack = [&](std::span<std::byte> to) {
        Bytes packed = link_.wait(std::exchange(batch.asked, nullptr), Type::kData);
        decode_pieces(packed, to);
        link_.give_back(std::move(packed));
    };
    if (batch.bytes.empty()) {
        // Who wants it a second time is rare, and asks a second time.
        if (batch.asked == nullptr) batch.asked = ask(batch);
        // The usual one: straight to where it belongs.
        if (batch.extents.size() == 1 && wanted.contains(batch.place)) return unpack(place_of(batch.place));
        std::size_t size = 0;
        for (Extent e : batch.extents)
            size += e.size();
        Bytes bytes(size);
        unpack(bytes);
        batch.bytes = std::move(bytes);
    }
    std::size_t filled = 0;
    for (Extent e : batch.extents) {
        const Extent part = e.clipped_to(wanted);
        if (!part.empty())
            copy_bytes(std::span(batch.bytes).subspan(filled + (part.begin - e.begin), part.size()),
                       place_of(part));
        filled += e.size();
    }
}

void ReadAhead::read(ByteOffset offset, std::span<std::byte> buffer) {
    const Extent wanted{offset, offset + buffer.size()};
    ByteOffset filled = wanted.begin;  // everything before this is in the buffer
    const auto zero_up_to = [&](ByteOffset end) {
        std::ranges::fill(buffer.subspan(filled - offset, end - filled), std::byte{0});
    };
    auto at = std::ranges::upper_bound(expected_.begin(), expected_.end(), offset, {}, &Extent::end);
    for (; at != expected_.end() && at->begin < wanted.end; ++at) {
        Extent part = at->clipped_to(wanted);
        zero_up_to(part.begin);
        filled = part.end;
        while (!part.empty()) {
            Shared batch;
            {
                const std::lock_guard lock(mutex_);
                batch = batch_at(part.begin);
                go_ahead(batch);
            }
            const Extent here = batch->place.clipped_to(part);
            fetch(*batch, here, offset, buffer);
            part.begin = here.end;
        }
    }
    zero_up_to(wanted.end);
}

}  // namespace dupengine::wire
