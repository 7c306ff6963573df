#pragma once
// A disk on which every block of btrfs matches its checksum (CRC-32C), whatever was done to it: tests and
// fuzzers that change blocks reach what is behind the checksums. Any transfer of 4 KiB to 64 KiB is taken for
// a block.

#include "block/device.h"

namespace dupengine::test {

class SealedReader final : public block::Reader {
  public:
    explicit SealedReader(const block::Reader& disk) : disk_(disk) {}
    const block::Geometry& geometry() const override { return disk_.geometry(); }
    const std::string& name() const override { return disk_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;

  private:
    const block::Reader& disk_;
};

}  // namespace dupengine::test
