#include "tests/support/crash_disk.h"

#include <algorithm>

namespace dupengine::test {

CrashDisk::CrashDisk(Bytes initial, std::uint32_t sector_bytes) : now_(std::move(initial)) {
    geometry_.size_bytes = now_.size();
    geometry_.logical_sector_bytes = sector_bytes;
}

void CrashDisk::read(ByteOffset offset, std::span<std::byte> buffer) const {
    const std::lock_guard lock(mutex_);
    std::copy_n(now_.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
}

void CrashDisk::write(ByteOffset offset, std::span<const std::byte> buffer) {
    const std::lock_guard lock(mutex_);
    log_->push_back({false, offset, Bytes(buffer.begin(), buffer.end())});
    std::copy(buffer.begin(), buffer.end(), now_.begin() + static_cast<std::ptrdiff_t>(offset));
}

void CrashDisk::zero(block::Extent extent, Zeroing) {
    write(extent.begin, Bytes(extent.size()));
}

void CrashDisk::flush() {
    const std::lock_guard lock(mutex_);
    log_->push_back({true, 0, {}});
}

namespace {

void put(Bytes& medium, const CrashDisk::Entry& entry) {
    std::copy(entry.content.begin(), entry.content.end(),
              medium.begin() + static_cast<std::ptrdiff_t>(entry.offset));
}

void put_some_sectors(Bytes& medium, const CrashDisk::Entry& entry, SeededRandom& random,
                      std::uint32_t sector) {
    for (std::size_t at = 0; at < entry.content.size(); at += sector) {
        if (random.below(2) == 0) continue;
        const std::size_t n = std::min<std::size_t>(sector, entry.content.size() - at);
        std::copy_n(entry.content.begin() + static_cast<std::ptrdiff_t>(at), n,
                    medium.begin() + static_cast<std::ptrdiff_t>(entry.offset + at));
    }
}

}  // namespace

Bytes medium_after(const Bytes& initial, const CrashDisk::Log& log, std::size_t entries, Cut cut,
                   SeededRandom& random, std::uint32_t sector_bytes) {
    Bytes medium = initial;
    std::size_t flushed = 0;  // entries before this one are on the medium for certain
    for (std::size_t i = 0; i < entries; ++i)
        if (log[i].is_flush) flushed = i + 1;
    for (std::size_t i = 0; i < entries; ++i) {
        if (cut == Cut::kSubset && i >= flushed)
            put_some_sectors(medium, log[i], random, sector_bytes);
        else
            put(medium, log[i]);
    }
    if (cut == Cut::kTorn && entries < log.size())
        put_some_sectors(medium, log[entries], random, sector_bytes);
    return medium;
}

}  // namespace dupengine::test
