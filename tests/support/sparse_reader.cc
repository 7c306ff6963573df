#include "tests/support/sparse_reader.h"

#include <algorithm>

namespace dupengine::test {

namespace {
constexpr std::uint64_t kUnit = 64 * kKiB;
}

void SparseReader::put(ByteOffset offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        Bytes& sector = sectors_[offset / kSector];
        sector.resize(kSector);
        const std::size_t within = offset % kSector, n = std::min(bytes.size(), kSector - within);
        std::copy_n(bytes.begin(), n, sector.begin() + static_cast<std::ptrdiff_t>(within));
        bytes = bytes.subspan(n);
        offset += n;
    }
}

void SparseReader::read(ByteOffset offset, std::span<std::byte> buffer) const {
    if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset)
        throw_error(Code::kSourceIo, "{}: {} bytes at {} pass its end", name_, buffer.size(), offset);
    std::fill(buffer.begin(), buffer.end(), std::byte{0});
    const block::Extent asked{offset, offset + buffer.size()};
    for (auto at = sectors_.lower_bound(offset / kSector); at != sectors_.end(); ++at) {
        const ByteOffset begin = at->first * kSector;
        const block::Extent common = asked.clipped_to({begin, begin + kSector});
        if (common.empty()) break;
        std::copy_n(at->second.begin() + static_cast<std::ptrdiff_t>(common.begin - begin), common.size(),
                    buffer.begin() + static_cast<std::ptrdiff_t>(common.begin - offset));
    }
}

std::unique_ptr<SparseReader> SparseReader::decode(std::span<const std::byte> short_form) {
    std::uint64_t units = 1;
    if (short_form.size() >= 2) {
        units = std::max<std::uint64_t>(1, load_le<std::uint16_t>(short_form, 0));
        short_form = short_form.subspan(2);
    }
    auto reader = std::make_unique<SparseReader>(units * kUnit);
    std::uint64_t sector = 0;
    while (short_form.size() >= 2) {
        sector += load_le<std::uint16_t>(short_form, 0);
        short_form = short_form.subspan(2);
        if ((sector + 1) * kSector > units * kUnit) break;
        const std::size_t n = std::min(short_form.size(), kSector);
        reader->put(sector * kSector, short_form.first(n));
        short_form = short_form.subspan(n);
        ++sector;
    }
    return reader;
}

Bytes encode_sparse(const block::Reader& disk) {
    constexpr std::size_t kSector = 512;
    const std::uint64_t size = disk.geometry().size_bytes;
    if (size % kUnit != 0 || size / kUnit > 65535)
        throw_error(Code::kInternal, "{} bytes have no short form", size);
    Bytes result(2);
    store_le<std::uint16_t>(result, 0, static_cast<std::uint16_t>(size / kUnit));
    std::uint64_t skipped = 0;
    for (ByteOffset at = 0; at < size; at += kUnit) {
        const Bytes unit = block::read_extent(disk, {at, at + kUnit});
        for (std::size_t s = 0; s < kUnit; s += kSector) {
            const auto sector = std::span(unit).subspan(s, kSector);
            if (is_zero(sector) && skipped < 65535) {
                ++skipped;
                continue;
            }
            const std::size_t end = result.size();
            result.resize(end + 2 + kSector);
            store_le<std::uint16_t>(result, end, static_cast<std::uint16_t>(skipped));
            std::copy(sector.begin(), sector.end(), result.begin() + static_cast<std::ptrdiff_t>(end + 2));
            skipped = 0;
        }
    }
    return result;
}

}  // namespace dupengine::test
