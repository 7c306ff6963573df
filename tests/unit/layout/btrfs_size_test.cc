// The blocks that change when a btrfs grows, held against what btrfs itself says of them.

#include "layout/btrfs_size.h"

#include <gtest/gtest.h>

#include "block/open.h"
#include "layout/btrfs_super.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kSize = 112 * kMiB, kLarger = 200 * kMiB + 1000;

std::shared_ptr<test::DiskBytes> on_disk(Bytes content) {
    auto bytes = std::make_shared<test::DiskBytes>(0);
    bytes->content = std::move(content);
    return bytes;
}

std::string make_btrfs(const test::ScratchFolder& scratch) {
    const std::string image = scratch.sparse_file("image", kSize);
    test::must_run({"mkfs.btrfs", "-q", image});
    test::must_run({"truncate", "-s", std::to_string(kLarger), image});
    return image;
}

TEST(BtrfsSize, BothCopiesOfTheDeviceItemAndBothSuperblocksChangeAndNothingElse) {
    const test::ScratchFolder scratch;
    const std::string image = make_btrfs(scratch);
    const auto disk = block::open_source(image);
    const std::vector<TableImage::Piece> pieces = grow_btrfs_to(*disk, kLarger);
    ASSERT_EQ(pieces.size(), 4u);
    EXPECT_EQ(pieces.back().offset, BtrfsSuper::kPlaces[0]) << "what counts has to be the last";
    EXPECT_EQ(pieces[2].offset, BtrfsSuper::kPlaces[1]);
    for (const TableImage::Piece& piece : pieces) {
        const Bytes before = block::read_extent(*disk, {piece.offset, piece.offset + piece.content.size()});
        EXPECT_TRUE(btrfs_checksum_matches(BtrfsChecksum::kCrc32c, piece.content));
        std::size_t changed = 0;
        for (std::size_t i = 0; i < before.size(); ++i)
            changed += before[i] != piece.content[i] ? 1u : 0u;
        EXPECT_LE(changed, 4 + 2 * sizeof(std::uint64_t)) << "more than a checksum and sizes";
    }
}

TEST(BtrfsSize, ASmallerOneIsRefused) {
    const test::ScratchFolder scratch;
    const auto disk = block::open_source(make_btrfs(scratch));
    EXPECT_THROW(grow_btrfs_to(*disk, kSize - kMiB), Error);
    EXPECT_THROW(grow_btrfs_to(*disk, kLarger + kMiB), Error) << "larger than its place";
}

// Nothing with a wrong checksum is given a right one.
TEST(BtrfsSize, ADamagedCopyIsNeverWrittenAnew) {
    const test::ScratchFolder scratch;
    const std::string image = make_btrfs(scratch);
    const auto good = block::open_source(image);
    const std::vector<TableImage::Piece> pieces = grow_btrfs_to(*good, kLarger);
    for (const TableImage::Piece& piece : pieces) {
        if (piece.offset == BtrfsSuper::kPlaces[1]) continue;  // is written from the first one
        Bytes bytes = block::read_extent(*good, {0, kSize});
        bytes.resize(kLarger);
        bytes[piece.offset + 200] ^= std::byte{1};
        const test::MemoryDevice disk(on_disk(std::move(bytes)));
        try {
            grow_btrfs_to(disk, kLarger);
            ADD_FAILURE() << "damage at " << piece.offset << " was not seen";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
        }
    }
}

}  // namespace
}  // namespace dupengine::layout
