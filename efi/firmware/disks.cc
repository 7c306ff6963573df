#include "efi/firmware/disks.h"

#include "efi/core/device_path.h"

namespace dupengine::efi {

bool BlockDisk::read(std::uint64_t offset, Buffer buffer) {
    const std::uint64_t lba = offset / sector_bytes();
    return io_->read(io_, io_->media->id, lba, buffer.size(), buffer.data()) == kSuccess;
}

bool BlockDisk::write(std::uint64_t offset, Bytes bytes) {
    const std::uint64_t lba = offset / sector_bytes();
    return io_->write(io_, io_->media->id, lba, bytes.size(), bytes.data()) == kSuccess;
}

void Disks::find(BootServices& boot) {
    const Handles everything(boot, nullptr);
    for (Handle handle : everything.all())
        boot.connect_controller(handle, nullptr, nullptr, true);
    const Handles handles(boot, &kBlockIoProtocol);
    for (Handle handle : handles.all()) {
        auto* io = protocol_of<BlockIo>(boot, handle, kBlockIoProtocol);
        const Bytes path = path_of(boot, handle);
        if (io == nullptr || path.empty() || count_ == disks_.size()) continue;
        const BlockMedia& media = *io->media;
        if (media.logical_partition || !media.present || media.block_bytes == 0 || media.last_block == 0)
            continue;
        disks_[count_++] = BlockDisk(*io, path);
    }
}

std::optional<std::size_t> Disks::disk_of(Bytes path) const {
    for (std::size_t i = 0; i < count_; ++i)
        if (is_on(disks_[i].path(), path)) return i;
    return std::nullopt;
}

}  // namespace dupengine::efi
