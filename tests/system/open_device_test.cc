// What opening a real block device promises: past the page cache, and alone.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"

namespace dupengine::block {
namespace {

// Descriptors of this process that are open on `device` with O_DIRECT.
int direct_descriptors(const std::string& device) {
    struct stat wanted {};
    EXPECT_EQ(::stat(device.c_str(), &wanted), 0);
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) {
        struct stat st {};
        if (::fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == wanted.st_rdev &&
            (::fcntl(fd, F_GETFL) & O_DIRECT) != 0)
            ++count;
    }
    return count;
}

TEST(OpenDevice, TransfersGoPastThePageCacheOnBothSides) {
    const test::ScratchFolder folder;
    const test::LoopDevice loop(folder.sparse_file("disk.img", 8 * kMiB));
    {
        const auto source = open_source(loop.path());
        EXPECT_EQ(direct_descriptors(loop.path()), 1);
    }
    const auto target = open_target(loop.path(), {});
    EXPECT_EQ(direct_descriptors(loop.path()), 1);
}

TEST(OpenDevice, ATargetIsHeldAlone) {
    const test::ScratchFolder folder;
    const test::LoopDevice loop(folder.sparse_file("disk.img", 8 * kMiB));
    const auto target = open_target(loop.path(), {});
    try {
        open_target(loop.path(), {});
        FAIL() << "two copies onto one device";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
    }
}

TEST(OpenDevice, SmallAndLargeWritesMeetInOrder) {
    const test::ScratchFolder folder;
    const std::string file = folder.sparse_file("disk.img", 8 * kMiB);
    const test::LoopDevice loop(file);
    Bytes large(kMiB), small(1024);
    test::fill_pattern(large, 1);
    test::fill_pattern(small, 2);
    const auto target = open_target(loop.path(), {});
    // Through the page cache into the middle of what went past it, and back again.
    target->write(kMiB, large);
    target->write(kMiB + 8192, small);
    target->write(3 * kMiB + 512, small);
    target->write(3 * kMiB, large);
    target->flush();
    Bytes first = large;
    std::copy(small.begin(), small.end(), first.begin() + 8192);
    Bytes back(kMiB);
    target->read_from_medium(kMiB, back);
    EXPECT_EQ(back, first);
    target->read_from_medium(3 * kMiB, back);
    EXPECT_EQ(back, large);
}

}  // namespace
}  // namespace dupengine::block
