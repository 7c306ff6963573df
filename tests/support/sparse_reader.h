#pragma once
// A disk of any size that is mostly zeros, and its short form in a file: what fuzzers mutate, and how a test
// shows a filesystem of many terabytes without having one. The short form: u16 little-endian, the size in
// units of 64 KiB (0: 64 KiB); then until the end of the file pieces of u16 sectors to skip, 512 bytes (fewer
// at the very end).

#include <map>
#include <memory>

#include "block/device.h"

namespace dupengine::test {

class SparseReader final : public block::Reader {
  public:
    explicit SparseReader(std::uint64_t size_bytes) { geometry_.size_bytes = size_bytes; }
    /// Any bytes are a disk.
    static std::unique_ptr<SparseReader> decode(std::span<const std::byte> short_form);

    void put(ByteOffset offset, std::span<const std::byte> bytes);
    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;

  private:
    static constexpr std::size_t kSector = 512;
    block::Geometry geometry_;
    std::string name_ = "sparse";
    std::map<std::uint64_t, Bytes> sectors_;
};

/// The short form of a disk whose size is a multiple of 64 KiB, at most 4 GiB.
Bytes encode_sparse(const block::Reader& disk);

}  // namespace dupengine::test
