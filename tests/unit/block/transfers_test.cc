#include "block/transfers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "base/fd.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"

namespace dupengine::block {
namespace {

struct CountingFinisher final : Finisher {
    void finish_read(ByteOffset offset, std::span<std::byte> buffer, int error) const override {
        finished[offset] = {buffer.size(), error};
        if (error != 0) throw_errno(Code::kSourceIo, error, "read at {}", offset);
    }
    void finish_write(ByteOffset offset, std::span<const std::byte> buffer, int error) const override {
        finished[offset] = {buffer.size(), error};
        if (error != 0) throw_errno(Code::kTargetIo, error, "write at {}", offset);
    }
    mutable std::map<ByteOffset, std::pair<std::size_t, int>> finished;
};

struct File {
    test::ScratchFolder folder;
    Fd fd = open_path(folder.file("file"), O_RDWR | O_CREAT, Code::kInternal);
    Bytes content = Bytes(kMiB);
    File() {
        test::fill_pattern(content, 7);
        pwrite_exact(fd.get(), 0, content, Code::kInternal, "file");
    }
};

bool machine_has_a_ring() {
    File file;
    CountingFinisher finisher;
    Transfers transfers(4096, 1);
    return transfers.start_read(0, file.fd.get(), 0, transfers.memory().first(1), finisher);
}

TEST(Transfers, EveryTransferComesBackOnceAndBytesLandWhereTheyBelong) {
    if (!machine_has_a_ring()) GTEST_SKIP() << "this kernel offers no io_uring";
    File file;
    const CountingFinisher finisher;
    Transfers transfers(kMiB, 8);
    constexpr std::size_t kPiece = 64 * kKiB;
    std::map<std::uint64_t, int> seen;
    std::uint64_t started = 0;
    while (started < 16 || transfers.any_under_way()) {
        const auto piece = transfers.memory().subspan(started * kPiece % kMiB, kPiece);
        if (started < 16 && transfers.start_read(started, file.fd.get(), started * kPiece, piece, finisher))
            ++started;
        else
            ++seen[transfers.wait().tag];
    }
    EXPECT_EQ(seen.size(), 16u);
    for (const auto& [tag, times] : seen)
        EXPECT_EQ(times, 1) << tag;
    EXPECT_TRUE(std::ranges::equal(transfers.memory().first(kMiB), file.content));
    EXPECT_TRUE(finisher.finished.empty());
}

TEST(Transfers, WhatTheKernelDidNotDoIsFinishedByTheDeviceOrFails) {
    if (!machine_has_a_ring()) GTEST_SKIP() << "this kernel offers no io_uring";
    File file;
    const CountingFinisher finisher;
    Transfers transfers(kMiB, 8);
    // Half of it lies behind the end of the file.
    ASSERT_TRUE(
        transfers.start_read(1, file.fd.get(), kMiB - 4096, transfers.memory().first(8192), finisher));
    EXPECT_EQ(transfers.wait().tag, 1u);
    EXPECT_EQ(finisher.finished[kMiB], (std::pair<std::size_t, int>{4096, 0}));
    // A descriptor that is no file.
    ASSERT_TRUE(transfers.start_write(2, -1, 0, transfers.memory().first(4096), finisher));
    const Transfers::Done done = transfers.wait();
    EXPECT_EQ(done.tag, 2u);
    EXPECT_TRUE(done.error);
    EXPECT_EQ(finisher.finished[0], (std::pair<std::size_t, int>{4096, EBADF}));
    EXPECT_FALSE(transfers.any_under_way());
}

TEST(Transfers, NoMoreThanAgreedAreUnderWayAndTheRestIsDoneAtOnce) {
    File file;
    const CountingFinisher finisher;
    Transfers transfers(kMiB, 2);
    unsigned taken = 0;
    for (unsigned i = 0; i < 5; ++i)
        taken += transfers.start_read(i, file.fd.get(), 0, transfers.memory().first(4096), finisher);
    EXPECT_LE(taken, 2u);
    for (unsigned i = taken; i < 5; ++i)
        transfers.done(i);
    unsigned back = 0;
    for (; transfers.any_under_way(); ++back)
        transfers.wait();
    EXPECT_EQ(back, 5u);
}

TEST(Transfers, AnErrorThatUnwindsWaitsForTheKernelBeforeTheMemoryGoes) {
    if (!machine_has_a_ring()) GTEST_SKIP() << "this kernel offers no io_uring";
    File file;
    const CountingFinisher finisher;
    constexpr std::size_t kPiece = 64 * kKiB;
    Bytes wanted(8 * kPiece);
    test::fill_pattern(wanted, 8);
    {
        Transfers transfers(kMiB, 8);
        std::ranges::copy(wanted, transfers.memory().begin());
        for (unsigned i = 0; i < 8; ++i)
            ASSERT_TRUE(transfers.start_write(i, file.fd.get(), i * kPiece,
                                              transfers.memory().subspan(i * kPiece, kPiece), finisher));
    }
    Bytes written(wanted.size());
    pread_exact(file.fd.get(), 0, written, Code::kInternal, "file");
    EXPECT_EQ(written, wanted) << "the memory went before the kernel had read it";
}

}  // namespace
}  // namespace dupengine::block
