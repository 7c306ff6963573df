#include "efi/core/guard.h"

namespace dupengine::efi {

GuardedTarget::GuardedTarget(WritableDisk& disk, std::span<const Region> kept) : disk_(disk) {
    // More than can be remembered: then nothing may be written.
    refused_ = kept.size() > kept_.size();
    for (const Region& region : kept)
        if (count_ < kept_.size()) kept_[count_++] = region;
}

bool GuardedTarget::write(std::uint64_t offset, Bytes bytes) {
    const std::uint64_t size = disk_.size_bytes();
    const std::uint32_t sector = disk_.sector_bytes();
    const bool on_disk = offset <= size && bytes.size() <= size - offset;
    if (!on_disk || offset % sector != 0 || bytes.size() % sector != 0) refused_ = true;
    for (const Region& region : kept())
        if (!refused_ && region.touches({offset, offset + bytes.size()})) refused_ = true;
    return !refused_ && disk_.write(offset, bytes);
}

bool GuardedTarget::flush() {
    return !refused_ && disk_.flush();
}

}  // namespace dupengine::efi
