#include "block/overlay.h"

#include <algorithm>
#include <iterator>
#include <mutex>

#include "block/transfers.h"

namespace dupengine::block {

Overlay::Overlay(const Reader& disk, Extent part, std::string name, std::uint64_t room_bytes)
    : disk_(disk),
      part_(part),
      geometry_(disk.geometry()),
      name_(std::move(name)),
      changes_("the parts of the source that change") {
    if (part.end < part.begin || part.end > disk.geometry().size_bytes)
        throw_error(Code::kInternal, "{}: {} lies outside its disk", name_, part.text());
    geometry_.size_bytes = part.size();
    changes_.need(room_bytes);
}

void Overlay::check(ByteOffset offset, std::size_t size) const {
    const std::uint64_t whole = geometry_.size_bytes;
    if (offset > whole || whole - offset < size)
        throw_error(Code::kInternal, "{}: {} bytes at {} pass its end ({} bytes)", name(), size, offset,
                    whole);
}

// What begins at `at`: changed or not, and how far that goes before `end`.
Overlay::Piece Overlay::piece_at(ByteOffset at, ByteOffset end) const {
    const std::shared_lock lock(mutex_);
    auto next = changed_.upper_bound(at);
    if (next != changed_.begin() && std::prev(next)->second > at)
        return {{at, std::min(end, std::prev(next)->second)}, true};
    return {{at, next == changed_.end() ? end : std::min(end, next->first)}, false};
}

void Overlay::read_pieces(ByteOffset offset, std::span<std::byte> buffer, From from) const {
    check(offset, buffer.size());
    const ByteOffset end = offset + buffer.size();
    for (ByteOffset at = offset; at < end;) {
        const Piece piece = piece_at(at, end);
        const std::span<std::byte> part = buffer.subspan(at - offset, piece.extent.size());
        if (piece.changed)
            changes_.read(at, part);
        else if (from == From::kMedium)
            disk_.read_from_medium(part_.begin + at, part);
        else
            disk_.read(part_.begin + at, part);
        at = piece.extent.end;
    }
}

void Overlay::read(ByteOffset offset, std::span<std::byte> buffer) const {
    read_pieces(offset, buffer, From::kAnywhere);
}

void Overlay::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    read_pieces(offset, buffer, From::kMedium);
}

void Overlay::start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                         std::span<std::byte> buffer, From from) const {
    check(offset, buffer.size());
    const Piece piece = piece_at(offset, offset + buffer.size());
    // Only what lies in the disk alone can be under way as one transfer.
    if (piece.changed || piece.extent.size() != buffer.size())
        return Reader::start_read(transfers, tag, offset, buffer, from);
    disk_.start_read(transfers, tag, part_.begin + offset, buffer, from);
}

Extent Overlay::next_data(Extent within) const {
    within = within.clipped_to({0, geometry_.size_bytes});
    for (ByteOffset at = within.begin; at < within.end;) {
        const Piece piece = piece_at(at, within.end);
        if (piece.changed) return piece.extent;
        const Extent data =
            disk_.next_data({part_.begin + piece.extent.begin, part_.begin + piece.extent.end});
        if (!data.empty()) return {data.begin - part_.begin, data.end - part_.begin};
        at = piece.extent.end;
    }
    return {};
}

void Overlay::write(ByteOffset offset, std::span<const std::byte> buffer) {
    check(offset, buffer.size());
    if (buffer.empty()) return;
    changes_.write(offset, buffer);
    remember({offset, offset + buffer.size()});
}

// After its bytes are there: who reads meanwhile gets the old ones or the new ones.
void Overlay::remember(Extent extent) {
    const std::unique_lock lock(mutex_);
    auto first = changed_.upper_bound(extent.begin);
    if (first != changed_.begin() && std::prev(first)->second >= extent.begin) --first;
    auto last = first;
    for (; last != changed_.end() && last->first <= extent.end; ++last) {
        extent.begin = std::min(extent.begin, last->first);
        extent.end = std::max(extent.end, last->second);
    }
    changed_.erase(first, last);
    changed_.emplace(extent.begin, extent.end);
}

void Overlay::settle() {
    changes_.settle();
}

std::uint64_t Overlay::changed_bytes() const {
    const std::shared_lock lock(mutex_);
    std::uint64_t sum = 0;
    for (const auto& [begin, end] : changed_)
        sum += end - begin;
    return sum;
}

}  // namespace dupengine::block
