#include "block/disk_row.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace dupengine::block {

ExtentSet on_disk(const ExtentSet& extents, const RowPlace& place) {
    ExtentSet found;
    for (const Extent e : extents.clipped_to(place.extent()))
        found.insert({e.begin - place.begin, e.end - place.begin});
    return found;
}

DiskRow::DiskRow(std::vector<const Reader*> disks) : disks_(std::move(disks)) {
    ByteOffset end = 0;
    for (const Reader* disk : disks_) {
        const ByteOffset begin = align_up(end, kRowAlignment);
        places_.push_back({disk->name(), disk->geometry(), begin});
        end = places_.back().extent().end;
        name_ += (name_.empty() ? "" : ", ") + disk->name();
    }
    geometry_ = disks_.front()->geometry();
    geometry_.size_bytes = end;
}

void DiskRow::read(ByteOffset offset, std::span<std::byte> buffer) const {
    read_parts(offset, buffer, From::kAnywhere);
}

void DiskRow::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    read_parts(offset, buffer, From::kMedium);
}

void DiskRow::read_parts(ByteOffset offset, std::span<std::byte> buffer, From from) const {
    if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset)
        throw_error(Code::kSourceIo, "{}: {} bytes at {} pass the end", name_, buffer.size(), offset);
    const Extent asked{offset, offset + buffer.size()};
    ByteOffset at = offset;
    const auto zeros_until = [&](ByteOffset end) {
        if (at < end) std::ranges::fill(buffer.subspan(at - offset, end - at), std::byte{0});
        at = std::max(at, end);
    };
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        const Extent part = places_[i].extent().clipped_to(asked);
        if (part.empty()) continue;
        zeros_until(part.begin);
        const auto bytes = buffer.subspan(part.begin - offset, part.size());
        const ByteOffset on_it = part.begin - places_[i].begin;
        from == From::kMedium ? disks_[i]->read_from_medium(on_it, bytes) : disks_[i]->read(on_it, bytes);
        at = part.end;
    }
    zeros_until(asked.end);
}

DiskOfRow::DiskOfRow(const Reader& row, RowPlace place)
    : row_(row), place_(std::move(place)), window_(row, place_.extent(), place_.name) {}

void DiskOfRow::expect(const ExtentSet& data) const {
    row_.expect(data.shifted(place_.begin));
}

}  // namespace dupengine::block
