#pragma once
// The machine's disks, as firmware reads and writes them.

#include <array>
#include <optional>

#include "efi/core/disk.h"
#include "efi/core/survey.h"
#include "efi/firmware/services.h"

namespace dupengine::efi {

class BlockDisk final : public WritableDisk {
  public:
    BlockDisk() = default;
    BlockDisk(BlockIo& io, Bytes path) : io_(&io), path_(path) {}
    std::uint64_t size_bytes() const override {
        return (io_->media->last_block + 1) * io_->media->block_bytes;
    }
    std::uint32_t sector_bytes() const override { return io_->media->block_bytes; }
    bool read(std::uint64_t offset, Buffer buffer) override;
    bool read_only() const override { return io_->media->read_only; }
    bool write(std::uint64_t offset, Bytes bytes) override;
    bool flush() override { return io_->flush(io_) == kSuccess; }
    Bytes path() const { return path_; }

  private:
    BlockIo* io_ = nullptr;
    Bytes path_;
};

class Disks {
  public:
    enum class Network { kToo, kLeaveAlone };
    /// Has firmware look for all of them first: it starts only what it boots from. That starts network cards,
    /// too, unless they are to be left alone.
    void find(BootServices& boot, Network network);
    std::size_t count() const { return count_; }
    BlockDisk& operator[](std::size_t number) { return disks_[number]; }
    /// The disk that a handle's device is on.
    std::optional<std::size_t> disk_of(Bytes path) const;

  private:
    std::array<BlockDisk, kMostDisks> disks_;
    std::size_t count_ = 0;
};

}  // namespace dupengine::efi
