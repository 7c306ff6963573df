#include "base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/support/scratch.h"

namespace dupengine {
namespace {

TEST(WriteFileAtomic, ReplacesTheFileAndLeavesNothingElseBehind) {
    const test::ScratchFolder folder;
    const std::string path = folder.file("hostname");
    write_file_atomic(path, as_bytes("golden\n"), 0644, Code::kTargetIo);
    write_file_atomic(path, as_bytes("web-1\n"), 0600, Code::kTargetIo);
    EXPECT_EQ(read_file(path, Code::kSourceIo), "web-1\n");
    struct stat st {};
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(WriteFileAtomic, AFailureLeavesTheOldContentAndNoTemporaryFile) {
    const test::ScratchFolder folder;
    const std::string path = folder.file("folder-in-the-way");
    std::filesystem::create_directories(path + "/inside");
    EXPECT_THROW(write_file_atomic(path, as_bytes("x"), 0644, Code::kTargetIo), Error);
    EXPECT_TRUE(std::filesystem::exists(path + "/inside"));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Fd, AnEndOfFileTooEarlyNamesThePlace) {
    const test::ScratchFolder folder;
    const std::string path = folder.sparse_file("short", 100);
    const Fd fd = open_path(path, O_RDONLY, Code::kSourceIo);
    Bytes buffer(64);
    EXPECT_NO_THROW(pread_exact(fd.get(), 36, buffer, Code::kSourceIo, path));
    try {
        pread_exact(fd.get(), 50, buffer, Code::kSourceIo, path);
        FAIL() << "read past the end";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kSourceIo);
        EXPECT_NE(std::string(e.what()).find("ends at byte 100"), std::string::npos) << e.what();
    }
}

TEST(ReadFile, AFileLargerThanItsLimitIsNotTakenIn) {
    const test::ScratchFolder folder;
    const std::string path = folder.sparse_file("large", 4 * kMiB);
    EXPECT_THROW(read_file(path, Code::kSourceIo, kMiB), Error);
}

}  // namespace
}  // namespace dupengine
