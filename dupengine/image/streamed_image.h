#pragma once
// An image that is read from a pipe, as a disk. What is read once is not kept for a second time, from the
// moment on when it is known what will be read. From any thread.

#include <map>

#include "image/image_reader.h"
#include "image/stream_files.h"

namespace dupengine::image {

class StreamedImage final : public block::Reader {
  public:
    /// Both outlive it.
    StreamedImage(const ImageReader& image, const StreamFiles& files) : image_(image), files_(files) {}

    const block::Geometry& geometry() const override { return image_.geometry(); }
    const std::string& name() const override { return image_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    block::Extent next_data(block::Extent within) const override { return image_.next_data(within); }
    void expect(const block::ExtentSet& data) const override;
    std::uint64_t known_piece_bytes() const override { return image_.known_piece_bytes(); }
    bool holds(ByteOffset offset, std::span<const std::byte> bytes) const override;

  private:
    void done(block::Extent extent) const;
    bool is_last_of(std::uint64_t chunk, block::Extent extent) const;

    const ImageReader& image_;
    const StreamFiles& files_;
    mutable std::mutex mutex_;
    mutable std::optional<block::ExtentSet> expected_;
    mutable std::map<std::uint64_t, block::ExtentSet> missing_;  // of chunks that were read in part
};

}  // namespace dupengine::image
