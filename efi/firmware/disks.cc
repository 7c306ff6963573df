#include "efi/firmware/disks.h"

#include "efi/core/device_path.h"

namespace dupengine::efi {
namespace {

void connect_all(BootServices& boot) {
    const Handles everything(boot, nullptr);
    for (Handle handle : everything.all())
        boot.connect_controller(handle, nullptr, nullptr, true);
}

// Whether a path leads to a network card, or comes from there.
bool has_network(BootServices& boot, const Handles& cards, Bytes path) {
    for (Handle card : cards.all())
        if (is_on(path, path_of(boot, card)) || is_on(path_of(boot, card), path)) return true;
    return false;
}

// One step at a time, because what is connected with all that follows takes its cards along.
void connect_all_but_networks(BootServices& boot) {
    constexpr int kMostSteps = 16;
    std::size_t known = 0;
    for (int step = 0; step < kMostSteps; ++step) {
        const Handles everything(boot, nullptr), cards(boot, &kSimpleNetworkProtocol);
        if (everything.all().size() == known) return;
        known = everything.all().size();
        for (Handle handle : everything.all())
            if (!has_network(boot, cards, path_of(boot, handle)))
                boot.connect_controller(handle, nullptr, nullptr, false);
    }
}

}  // namespace

bool BlockDisk::read(std::uint64_t offset, Buffer buffer) {
    const std::uint64_t lba = offset / sector_bytes();
    return io_->read(io_, io_->media->id, lba, buffer.size(), buffer.data()) == kSuccess;
}

bool BlockDisk::write(std::uint64_t offset, Bytes bytes) {
    const std::uint64_t lba = offset / sector_bytes();
    return io_->write(io_, io_->media->id, lba, bytes.size(), bytes.data()) == kSuccess;
}

void Disks::find(BootServices& boot, Network network) {
    if (network == Network::kToo)
        connect_all(boot);
    else
        connect_all_but_networks(boot);
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
