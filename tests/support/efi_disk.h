#pragma once
// A disk in memory as efi/ sees it, for its tests and fuzz targets. Can fail to read a range, lose all writes
// after some, and hold something else than was written.

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <vector>

#include "efi/core/disk.h"

namespace dupengine::test {

class EfiDisk final : public efi::WritableDisk {
  public:
    explicit EfiDisk(std::vector<std::byte> content, std::uint32_t sector_bytes = 512)
        : content_(std::move(content)), sector_bytes_(sector_bytes) {}

    std::uint64_t size_bytes() const override { return content_.size() / sector_bytes_ * sector_bytes_; }
    std::uint32_t sector_bytes() const override { return sector_bytes_; }
    bool read(std::uint64_t offset, efi::Buffer buffer) override {
        // A reader that passes the end, or asks for less than a sector, would be wrong on any real disk.
        if (offset % sector_bytes_ != 0 || buffer.size() % sector_bytes_ != 0 || offset > content_.size() ||
            buffer.size() > content_.size() - offset)
            std::abort();
        if (offset < bad_end_ && bad_begin_ < offset + buffer.size()) return false;
        std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
        return true;
    }

    bool read_only() const override { return is_read_only; }
    bool write(std::uint64_t offset, efi::Bytes bytes) override {
        if (writes++ >= cut_after) return false;
        std::copy(bytes.begin(), bytes.end(), content_.begin() + static_cast<std::ptrdiff_t>(offset));
        if (offset == flip_at) content_[offset] ^= std::byte{1};
        return true;
    }
    bool flush() override { return writes <= cut_after; }

    bool is_read_only = false;
    /// From then on nothing arrives, as in a power cut.
    std::size_t writes = 0, cut_after = std::numeric_limits<std::size_t>::max();
    /// What is written there is not what arrives.
    std::uint64_t flip_at = std::numeric_limits<std::uint64_t>::max();

    std::vector<std::byte>& content() { return content_; }
    void make_unreadable(std::uint64_t begin, std::uint64_t end) {
        bad_begin_ = begin;
        bad_end_ = end;
    }

  private:
    std::vector<std::byte> content_;
    std::uint32_t sector_bytes_;
    std::uint64_t bad_begin_ = 0, bad_end_ = 0;
};

}  // namespace dupengine::test
