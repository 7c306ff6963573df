#include "layout/luks_reader.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kIvSector = 512;
constexpr std::size_t kStep = 64 * kKiB;  // of what does not begin or end with a sector

}  // namespace

LuksReader::LuksReader(std::shared_ptr<const block::Reader> payload, const LuksHeader& header,
                       Secret volume_key, Direction direction, std::string name)
    : payload_(std::move(payload)),
      name_(std::move(name)),
      direction_(direction),
      cipher_(std::move(volume_key), header.sector_bytes),
      sector_bytes_(header.sector_bytes),
      iv_offset_(header.iv_offset),
      geometry_(payload_->geometry()) {
    if (geometry_.size_bytes % sector_bytes_ != 0)
        throw_error(Code::kInternal, "{}: {} bytes are not whole sectors of {}", name_, geometry_.size_bytes,
                    sector_bytes_);
    geometry_.logical_sector_bytes = std::max(geometry_.logical_sector_bytes, sector_bytes_);
    geometry_.physical_sector_bytes = std::max(geometry_.physical_sector_bytes, sector_bytes_);
}

void LuksReader::read_sectors(ByteOffset offset, std::span<std::byte> sectors, From from) const {
    if (from == From::kMedium)
        payload_->read_from_medium(offset, sectors);
    else
        payload_->read(offset, sectors);
    const std::uint64_t number = iv_offset_ + offset / kIvSector;
    if (direction_ == Direction::kDecrypt)
        cipher_.decrypt(number, sectors);
    else
        cipher_.encrypt(number, sectors);
}

void LuksReader::read_any(ByteOffset offset, std::span<std::byte> buffer, From from) const {
    const std::uint64_t size = geometry_.size_bytes;
    if (offset > size || buffer.size() > size - offset)
        throw_error(Code::kSourceIo, "{}: {} bytes at {} pass its end ({} bytes)", name_, buffer.size(),
                    offset, size);
    if (offset % sector_bytes_ == 0 && buffer.size() % sector_bytes_ == 0)
        return read_sectors(offset, buffer, from);
    while (!buffer.empty()) {
        const ByteOffset begin = align_down(offset, sector_bytes_);
        const std::size_t step = std::min<std::size_t>(buffer.size(), kStep - (offset - begin));
        Bytes around(align_up(offset + step, sector_bytes_) - begin);
        read_sectors(begin, around, from);
        std::copy_n(around.begin() + static_cast<std::ptrdiff_t>(offset - begin), step, buffer.begin());
        offset += step;
        buffer = buffer.subspan(step);
    }
}

void LuksReader::read(ByteOffset offset, std::span<std::byte> buffer) const {
    read_any(offset, buffer, From::kAnywhere);
}

void LuksReader::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    read_any(offset, buffer, From::kMedium);
}

}  // namespace dupengine::layout
