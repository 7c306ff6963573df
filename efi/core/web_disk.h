#pragma once
// A raw disk image on a web server as a disk that can be read. Each piece is held against its digest before a
// byte of it is given out, so a server that changes the image, or somebody on the way, is an error and not a
// copy. What may pass is waited for, as with any file (boot_file.h).

#include "efi/core/firmware.h"
#include "efi/core/piece_digests.h"

namespace dupengine::efi {

class WebDisk final : public Disk {
  public:
    /// `address` is what was read of `url`; `piece`: kMiB bytes. All stay where they are.
    WebDisk(Firmware& firmware, TextView url, const WebAddress& address, const PieceDigests& digests,
            Buffer piece)
        : firmware_(firmware), url_(url), address_(address), digests_(digests), piece_(piece) {}

    std::uint64_t size_bytes() const override { return digests_.image_bytes; }
    /// Images are of disks with such sectors; others are for dupengine(8).
    std::uint32_t sector_bytes() const override { return 512; }
    bool read(std::uint64_t offset, Buffer buffer) override;
    /// Why the last read failed; empty: none did.
    TextView fault() const { return fault_; }

  private:
    bool load(std::uint64_t number);

    Firmware& firmware_;
    const TextView url_;
    const WebAddress& address_;
    const PieceDigests& digests_;
    const Buffer piece_;
    std::optional<std::uint64_t> loaded_;
    TextView fault_;
};

}  // namespace dupengine::efi
