#include "block/open.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"

namespace dupengine::block {
namespace {

template <typename Work>
std::string refusal_of(Work&& work) {
    try {
        work();
    } catch (const Error& e) {
        return e.code() == Code::kRefused ? e.what()
                                          : fmt::format("code {}: {}", code_name(e.code()), e.what());
    }
    return "nothing was refused";
}

TEST(OpenTarget, WrongKindsOfPathAreRefused) {
    const test::ScratchFolder folder;
    ASSERT_EQ(::mkfifo(folder.file("fifo").c_str(), 0600), 0);
    EXPECT_NE(refusal_of([&] { open_target(folder.path(), {}); }).find("a directory"), std::string::npos);
    EXPECT_NE(refusal_of([&] { open_target(folder.file("fifo"), {}); }).find("a pipe"), std::string::npos);
    EXPECT_NE(refusal_of([&] { open_target("/dev/null", {}); }).find("a character device"),
              std::string::npos);
    EXPECT_NE(refusal_of([&] { open_target(folder.file("missing"), {}); }).find("No such file"),
              std::string::npos);
    EXPECT_NE(::access(folder.file("missing").c_str(), F_OK), 0) << "a missing target was created";
    EXPECT_NE(refusal_of([&] { open_target(folder.sparse_file("empty", 0), {}); }).find("no bytes"),
              std::string::npos);
}

TEST(OpenTarget, AFileThatAnotherCopyHoldsIsRefused) {
    const test::ScratchFolder folder;
    const std::string path = folder.sparse_file("disk", kMiB);
    const auto first = open_target(path, {});
    EXPECT_NE(refusal_of([&] { open_target(path, {}); }).find("lock"), std::string::npos);
}

TEST(OpenSource, NeverWrites) {
    const test::ScratchFolder folder;
    const std::string path = folder.sparse_file("disk", kMiB);
    const auto source = open_source(path);
    const int flags = ::fcntl(source->native_fd(), F_GETFL);
    EXPECT_EQ(flags & O_ACCMODE, O_RDONLY);
}

TEST(LinuxDevice, BytesOfEveryAlignmentComeBack) {
    const test::ScratchFolder folder;
    const std::string path = folder.sparse_file("disk", 4 * kMiB);
    const auto target = open_target(path, {});
    Bytes pattern(300 * kKiB);
    test::fill_pattern(pattern, 3);
    for (const ByteOffset offset :
         {ByteOffset{0}, ByteOffset{512}, ByteOffset{kMiB}, ByteOffset{kMiB + 3584}}) {
        target->write(offset, pattern);
        target->flush();
        Bytes back(pattern.size());
        target->read_from_medium(offset, back);
        EXPECT_EQ(back, pattern) << offset;
    }
}

TEST(LinuxDevice, HolesAreSeenAndZeroingMakesThem) {
    const test::ScratchFolder folder;
    const std::string path = folder.sparse_file("disk", 4 * kMiB);
    const auto target = open_target(path, {});
    EXPECT_TRUE(target->next_data({0, 4 * kMiB}).empty());
    target->write(kMiB, Bytes(kMiB, std::byte{1}));
    EXPECT_EQ(target->next_data({0, 4 * kMiB}), (Extent{kMiB, 2 * kMiB}));
    target->zero({kMiB, 2 * kMiB}, Device::Zeroing::kDeallocate);
    EXPECT_TRUE(target->next_data({0, 4 * kMiB}).empty()) << "the space was not given back";
    EXPECT_TRUE(is_zero(read_extent(*target, {kMiB, 2 * kMiB})));
}

TEST(LinuxDevice, AFileWithAnOddEndIsReadAndWrittenToItsLastByte) {
    const test::ScratchFolder folder;
    const std::string path = folder.sparse_file("disk", kMiB + 100);
    const auto target = open_target(path, {});
    target->write(kMiB, Bytes(100, std::byte{9}));
    target->flush();
    Bytes back(100);
    target->read_from_medium(kMiB, back);
    EXPECT_EQ(back, Bytes(100, std::byte{9}));
    EXPECT_THROW(read_extent(*target, {kMiB, kMiB + 101}), Error);
}

}  // namespace
}  // namespace dupengine::block
