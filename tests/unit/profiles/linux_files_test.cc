// XFS by the real mkfs.xfs, on a disk that cannot be read at some place.

#include "profiles/system/linux_files.h"

#include <gtest/gtest.h>

#include "block/open.h"
#include "tests/support/scratch.h"
#include "tests/support/watched_reader.h"

namespace dupengine::profiles {
namespace {

TEST(LinuxFiles, ThatCannotBeReadAreNotTakenForOnesThatWereNotUnmounted) {
    const test::ScratchFolder scratch;
    const std::string image = scratch.sparse_file("image", 64 * kMiB);
    test::must_run({"mkfs.xfs", "-q", "-f", "--unsupported", image});
    const auto disk = block::open_source(image);
    layout::PartitionDescription partition;
    partition.signature = layout::Signature{.type = "xfs"};
    unsigned failing = 0, reads = 0;
    const test::WatchedReader reader(*disk, [&] {
        if (reads++ == failing) throw_error(Code::kSourceIo, "EIO at read {}", failing);
    });
    for (;; ++failing) {
        SCOPED_TRACE(failing);
        reads = 0;
        try {
            EXPECT_TRUE(was_left_in_order(partition, reader));
            break;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kSourceIo) << e.what();
        }
        ASSERT_FALSE(HasFailure());
    }
    EXPECT_GT(failing, 10u) << "only the superblock was read";
}

}  // namespace
}  // namespace dupengine::profiles
