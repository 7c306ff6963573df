// What is said of a damaged image.

#include "engine/check_image.h"

#include <gmock/gmock.h>

#include <mutex>
#include <random>

#include "image/open_image.h"
#include "image/tar_files.h"
#include "tests/support/scratch.h"
#include "tests/support/tar_image.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using ::testing::SizeIs;

constexpr std::uint64_t kChunk = image::kChunkBytes;

Bytes noise(std::size_t size) {
    std::mt19937_64 random(1);
    Bytes bytes(size);
    for (std::size_t at = 0; at < size; at += 8)
        store_le<std::uint64_t>(bytes, at, random());
    return bytes;
}

// As an image that comes through a pipe, once its packs have left the memory: what was read is gone.
class OnceReader final : public block::Reader {
  public:
    explicit OnceReader(const block::Reader& image) : image_(image) {}
    const block::Geometry& geometry() const override { return image_.geometry(); }
    const std::string& name() const override { return image_.name(); }
    std::uint64_t known_piece_bytes() const override { return image_.known_piece_bytes(); }
    Extent next_data(Extent within) const override { return image_.next_data(within); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        const Extent wanted{offset, offset + buffer.size()};
        const std::scoped_lock lock(mutex_);
        if (read_.touches(wanted)) throw_error(Code::kIntegrity, "{} is needed again", wanted.text());
        image_.read(offset, buffer);
        read_.insert(wanted);
    }

  private:
    const block::Reader& image_;
    mutable std::mutex mutex_;
    mutable block::ExtentSet read_;
};

TEST(CheckImage, ThroughAPipeCallsOnlyTheDamagedChunksDamaged) {
    // With holes, so that a worker reads in several pieces.
    Bytes disk = noise(24 * kMiB);
    for (std::size_t at = 4 * kChunk; at < disk.size(); at += 8 * kChunk)
        std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(at), kChunk, std::byte{0});
    Bytes tar = test::make_tar_image({disk});
    block::ExtentSet damaged;
    for (const std::uint64_t chunk : {5u, 301u, 303u}) {
        // Bytes that do not compress are in the tar as they are.
        const auto found = std::ranges::search(tar, std::span(disk).subspan(chunk * kChunk, 64));
        ASSERT_FALSE(found.empty());
        found.front() ^= std::byte{1};
        damaged.insert({chunk * kChunk, (chunk + 1) * kChunk});
    }
    const test::ScratchFolder scratch;
    const std::string path = scratch.file("image.tar");
    test::write_file(path, tar);
    const auto files = image::open_tar(path);
    const image::StoredImage stored{"web", 1};
    const image::ImageReader image(*files, image::read_manifest(*files, stored, {}, nullptr), stored.base(),
                                   "image");
    Progress progress;
    const ImageCheck check = check_image(OnceReader(image), progress, {});
    EXPECT_TRUE(check.damaged == damaged)
        << check.damaged.total_bytes() << " bytes in " << check.damaged.count();
    EXPECT_THAT(check.reasons, SizeIs(3));
}

}  // namespace
}  // namespace dupengine::engine
