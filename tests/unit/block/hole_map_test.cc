#include "block/hole_map.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::block {
namespace {

constexpr std::uint64_t kSize = 64 * kMiB;

// A file, and the map of its holes. Writes and holes are made as by another program.
class AFileWithHoles : public ::testing::Test {
  protected:
    void write(Extent extent) {
        const Bytes ones(extent.size(), std::byte{1});
        ASSERT_EQ(::pwrite(fd_.get(), ones.data(), ones.size(), static_cast<off_t>(extent.begin)),
                  static_cast<ssize_t>(ones.size()));
    }
    void punch(Extent extent) {
        ASSERT_EQ(::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(extent.begin), static_cast<off_t>(extent.size())),
                  0);
    }

    const test::ScratchFolder folder_;
    const Fd fd_{::open(folder_.sparse_file("disk", kSize).c_str(), O_RDWR | O_CLOEXEC)};
    HoleMap map_{fd_.get(), kSize, Code::kSourceIo, "disk"};
};

TEST_F(AFileWithHoles, EveryPartOfDataIsFoundAndNothingElse) {
    write({kMiB, 2 * kMiB});
    write({8 * kMiB, 12 * kMiB});
    for (int time = 0; time < 2; ++time) {  // asked of the kernel, and remembered
        EXPECT_EQ(map_.next_data({0, kSize}), (Extent{kMiB, 2 * kMiB}));
        EXPECT_EQ(map_.next_data({2 * kMiB, kSize}), (Extent{8 * kMiB, 12 * kMiB}));
        EXPECT_EQ(map_.next_data({9 * kMiB, 10 * kMiB}), (Extent{9 * kMiB, 10 * kMiB}));
        EXPECT_TRUE(map_.next_data({2 * kMiB, 8 * kMiB}).empty());
        EXPECT_TRUE(map_.next_data({12 * kMiB, kSize}).empty());
    }
    EXPECT_TRUE(map_.has_data({0, 2 * kMiB}));
    EXPECT_FALSE(map_.has_data({2 * kMiB, 8 * kMiB}));
}

TEST_F(AFileWithHoles, WhatIsWrittenIntoAHoleThatWasSeenIsNotTakenForZeros) {
    write({8 * kMiB, 12 * kMiB});
    EXPECT_EQ(map_.next_data({0, kSize}), (Extent{8 * kMiB, 12 * kMiB}));
    write({4 * kMiB, 5 * kMiB});
    EXPECT_EQ(map_.next_data({0, kSize}), (Extent{4 * kMiB, 5 * kMiB}));
    EXPECT_EQ(map_.next_data({5 * kMiB, kSize}), (Extent{8 * kMiB, 12 * kMiB}));
    EXPECT_TRUE(map_.has_data({4 * kMiB, 5 * kMiB}));
}

TEST_F(AFileWithHoles, DataStaysDataUntilToldOtherwise) {
    write({0, 16 * kMiB});
    EXPECT_EQ(map_.next_data({0, kSize}), (Extent{0, 16 * kMiB}));
    punch({4 * kMiB, 8 * kMiB});
    EXPECT_EQ(map_.next_data({0, kSize}), (Extent{0, 16 * kMiB})) << "the kernel was asked again";
    map_.forget({4 * kMiB, 8 * kMiB});
    EXPECT_TRUE(map_.next_data({4 * kMiB, 8 * kMiB}).empty()) << "a hole is read, digested, compared";
    EXPECT_EQ(map_.next_data({0, kSize}), (Extent{0, 4 * kMiB}));
    EXPECT_EQ(map_.next_data({4 * kMiB, kSize}), (Extent{8 * kMiB, 16 * kMiB}));
}

TEST_F(AFileWithHoles, AFileOfVeryManyRunsIsSeenWhole) {
    constexpr std::uint64_t kPage = 4096;
    std::uint64_t written = 0, found = 0;
    for (ByteOffset at = 0; at < kSize; at += 2 * kPage, ++written)
        write({at, at + kPage});
    for (ByteOffset at = 0; at < kSize; ++found) {
        const Extent data = map_.next_data({at, kSize});
        if (data.empty()) break;
        ASSERT_EQ(data, (Extent{found * 2 * kPage, found * 2 * kPage + kPage}));
        at = data.end;
    }
    EXPECT_EQ(found, written);
}

TEST_F(AFileWithHoles, AFileThatIsCutShortDoesNotEndInAHole) {
    write({0, kMiB});
    ASSERT_EQ(::ftruncate(fd_.get(), 2 * kMiB), 0);
    try {
        map_.next_data({kMiB, kSize});
        FAIL() << "what was cut off was taken for zeros";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kSourceIo);
        EXPECT_STREQ(e.what(), "disk: was cut to 2097152 bytes while it was in use");
    }
}

}  // namespace
}  // namespace dupengine::block
