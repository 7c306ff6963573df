#pragma once
// A disk for fuzz targets: bytes in memory, and a check that stops the fuzzer. Reading past the end is a bug
// of the code under test, not an error to be handled.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "block/device.h"

namespace dupengine::fuzz {

inline void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "broken promise: %s\n", what);
    std::abort();
}

class FuzzDisk final : public block::Reader {
  public:
    FuzzDisk(Bytes content, std::uint32_t sector_bytes, bool is_block_device) : content_(std::move(content)) {
        geometry_.size_bytes = content_.size();
        geometry_.logical_sector_bytes = sector_bytes;
        geometry_.is_block_device = is_block_device;
    }
    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        require(offset <= content_.size() && buffer.size() <= content_.size() - offset,
                "reads stay on the disk");
        std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
    }
    Bytes& content() { return content_; }

  private:
    Bytes content_;
    block::Geometry geometry_;
    std::string name_ = "disk";
};

/// Overwrites a part of the content; what would pass its end is cut off.
inline void place(Bytes& content, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (offset >= content.size()) return;
    const std::size_t size = std::min<std::size_t>(bytes.size(), content.size() - offset);
    std::copy_n(bytes.begin(), size, content.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace dupengine::fuzz
