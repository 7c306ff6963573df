// What is said of a damaged image.

#include "engine/check_image.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <random>

#include "base/fd.h"
#include "image/open_image.h"
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

// What comes through a pipe comes once: what is good around the damage is not there for a second time.
TEST(CheckImage, ThroughAPipeCallsOnlyTheDamagedChunksDamaged) {
    // With holes, so that a worker reads in several pieces.
    Bytes disk = noise(60 * kMiB);
    for (std::size_t at = 4 * kChunk; at < disk.size(); at += 8 * kChunk)
        std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(at), kChunk, std::byte{0});
    Bytes tar = test::make_tar_image({disk});
    // Bytes that do not compress are in the tar as they are.
    for (const std::uint64_t chunk : {5u, 301u, 303u}) {
        const auto wanted = std::span(disk).subspan(chunk * kChunk, 64);
        const auto found = std::ranges::search(tar, wanted);
        ASSERT_FALSE(found.empty());
        found.front() ^= std::byte{1};
    }
    const test::ScratchFolder scratch;
    const std::string path = scratch.file("image.tar");
    test::write_file(path, tar);
    const Fd fd = open_path(path, O_RDONLY, Code::kInternal);
    const image::StreamFiles files(fd.get(), "a pipe");
    const image::ImageReader reader(files, image::read_manifest(files, files.image(), {}, nullptr),
                                    files.image().base(), "image");
    const image::StreamedImage image(reader, files);
    Progress progress;
    const ImageCheck check = check_image(image, progress, {});
    block::ExtentSet damaged;
    for (const std::uint64_t chunk : {5u, 301u, 303u})
        damaged.insert({chunk * kChunk, (chunk + 1) * kChunk});
    EXPECT_TRUE(check.damaged == damaged)
        << check.damaged.total_bytes() << " bytes in " << check.damaged.count();
    EXPECT_THAT(check.reasons, SizeIs(3));
}

}  // namespace
}  // namespace dupengine::engine
