// Temporary folders of commands that were killed: the next command removes them, and nothing else.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "base/temporary_folder.h"
#include "tests/support/killed_run.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;

TEST(LeftFolders, WhatIsMountedInOneStays) {
    const test::ScratchFolder scratch;
    const std::string place = scratch.file("place"), outside = scratch.file("outside"),
                      note = scratch.file("note");
    fs::create_directory(place);
    fs::create_directory(outside);
    std::ofstream(outside + "/kept") << "content";
    const pid_t child = ::fork();
    if (child == 0) {
        const TemporaryFolder folder(place, "", Code::kInternal);
        fs::create_directory(folder.file("mount"));
        std::ofstream(note) << folder.path();
        ::raise(SIGKILL);
    }
    ::waitpid(child, nullptr, 0);
    const std::string mount = read_file(note, Code::kInternal) + "/mount";
    // Of the same filesystem, so that a device number shows nothing.
    test::must_run({"mount", "--bind", outside, mount});
    { const TemporaryFolder next(place, "", Code::kInternal); }
    EXPECT_TRUE(fs::exists(outside + "/kept"));
    test::must_run({"umount", mount});
    { const TemporaryFolder next(place, "", Code::kInternal); }
    EXPECT_TRUE(fs::is_empty(place));
    EXPECT_TRUE(fs::exists(outside + "/kept"));
}

class KilledMedia : public testing::Test {
  protected:
    KilledMedia() { ::setenv("PATH", (scratch_.path() + ":" + before_).c_str(), 1); }
    ~KilledMedia() override { ::setenv("PATH", before_.c_str(), 1); }
    void set_mkinitramfs(const std::string& lines) const {
        std::ofstream(scratch_.file("mkinitramfs")) << "#!/bin/sh\n" << lines;
        fs::permissions(scratch_.file("mkinitramfs"), fs::perms::owner_all);
    }

    test::ScratchFolder scratch_;
    const std::string before_ = std::getenv("PATH");
    const std::vector<std::string> command_ = {"media", "initramfs", scratch_.file("made")};
};

TEST_F(KilledMedia, IsTidiedUpAfterByTheNext) {
    const std::string began = scratch_.file("began");
    set_mkinitramfs("dd if=/dev/zero of=\"$TMPDIR/file\" bs=64K count=1 status=none\necho \"$TMPDIR\" >" +
                    began + ".new && mv " + began + ".new " + began + "\nexec sleep 300\n");
    EXPECT_FALSE(test::run_and_kill(command_, [&] { return fs::exists(began); }));
    std::string unpacked;
    std::getline(std::ifstream(began) >> std::ws, unpacked);
    const fs::path left = fs::path(unpacked).parent_path();
    EXPECT_EQ(left.parent_path(), "/var/tmp");
    ASSERT_TRUE(fs::exists(unpacked + "/file")) << "nothing was left: the test shows nothing";
    set_mkinitramfs("exit 1\n");
    EXPECT_NE(test::run_dupengine(command_).status, 0);
    EXPECT_FALSE(fs::exists(left));
}

}  // namespace
}  // namespace dupengine
