// A role is taken up on a root that is XFS, as disks of the Red Hat family have it: at rest, and while it is
// mounted.

#include <gmock/gmock.h>

#include "tests/support/disk_image.h"
#include "tests/support/fake_system.h"
#include "tests/system/running_disk.h"

namespace dupengine::profiles {
namespace {

using test::GoldenDisk;
using test::must_run;
using ::testing::HasSubstr;
using ::testing::Not;

// The root once more, with its UUID, as another filesystem.
void make_xfs(const test::ScratchFolder& folder, const GoldenDisk& golden) {
    const std::string made = folder.sparse_file("xfs.img", golden.root.size()), from = folder.file("from"),
                      to = folder.file("to");
    must_run({"mkfs.xfs", "-q", "-f", "--unsupported", "-m", "uuid=" + std::string(test::kGoldenRoot), made});
    const test::LoopDevice old(golden.path,
                               {.offset_bytes = golden.root.begin, .size_bytes = golden.root.size()}),
        now(made);
    for (const std::string& place : {from, to})
        std::filesystem::create_directory(place);
    must_run({"mount", "-t", "ext4", old.path(), from});
    // Tests that run at the same time have one with this UUID, too.
    must_run({"mount", "-t", "xfs", "-o", "nouuid", now.path(), to});
    must_run({"cp", "-a", from + "/.", to});
    must_run({"umount", from, to});
    must_run({"dd", "if=" + made, "of=" + golden.path, "bs=1M", fmt::format("seek={}", golden.root.begin),
              "oflag=seek_bytes", "conv=notrunc", "status=none"});
}

class AssumeXfs : public RunningDiskTest {
  protected:
    void start_xfs() {
        golden_ = make("disk.img");
        make_xfs(folder, golden_);
        loop_.emplace(golden_.path);
        nodes_.emplace(*loop_);
        std::filesystem::create_directories(root_);
    }
    void mount_xfs_root() {
        ASSERT_EQ(::mount(node(3).c_str(), root_.c_str(), "xfs", 0, "nouuid"), 0) << std::strerror(errno);
    }
    // With what is in its log.
    std::string root_text(const std::string& path) {
        mount_xfs_root();
        const std::string content = read_file(root_ + path, Code::kInternal);
        ::umount2(root_.c_str(), 0);
        return content;
    }
    void expect_sound_xfs() {
        const RunResult checked = run_program({"xfs_repair", "-n", node(3)});
        EXPECT_EQ(checked.status, 0) << checked.err;
    }
};

TEST_F(AssumeXfs, AtRestItIsTakenUpAndUndone) {
    start_xfs();
    nodes_.reset();
    loop_.reset();
    const auto taken = must_assume(golden_.path);
    EXPECT_THAT(taken["notes"].dump() + taken["changes"].dump(), HasSubstr("web-1"));
    EXPECT_EQ(must_assume(golden_.path)["changes"].size(), 0u) << "a second run changes nothing";
    EXPECT_EQ(test::probed(golden_.path, golden_.root, "UUID"), test::kGoldenRoot) << "stays, and is said to";
    loop_.emplace(golden_.path);
    nodes_.emplace(*loop_);
    EXPECT_EQ(root_text("/etc/hostname"), "web-1\n");
    EXPECT_THAT(root_text("/etc/fstab"), HasSubstr("UUID=" + std::string(test::kGoldenRoot)));
    EXPECT_THAT(root_text("/etc/fstab"), Not(HasSubstr(test::kGoldenSwap)));
    expect_sound_xfs();
    nodes_.reset();
    loop_.reset();
    must_assume(golden_.path, {"--undo", "--yes"});
    loop_.emplace(golden_.path);
    nodes_.emplace(*loop_);
    EXPECT_THAT(root_text("/etc/fstab"), HasSubstr(test::kGoldenSwap));
    EXPECT_NE(root_text("/etc/hostname"), "web-1\n");
    expect_sound_xfs();
}

TEST_F(AssumeXfs, ALogThatWasLeftIsReplayedFirst) {
    start_xfs();
    const std::string copy = folder.file("copy.img");
    mount_xfs_root();
    write_file_atomic(root_ + "/etc/only-in-the-log", as_bytes("here\n"), 0644, Code::kInternal);
    must_run({"cp", "--sparse=always", golden_.path, copy});
    stop();
    EXPECT_THAT(must_assume(copy, {"--plan"})["notes"].dump(), HasSubstr("has not been replayed"));
    EXPECT_THAT(must_assume(copy)["notes"].dump(), HasSubstr("journal replayed"));
    golden_.path = copy;
    loop_.emplace(copy);
    nodes_.emplace(*loop_);
    EXPECT_EQ(root_text("/etc/only-in-the-log"), "here\n");
    EXPECT_EQ(root_text("/etc/hostname"), "web-1\n");
    expect_sound_xfs();
}

TEST_F(AssumeXfs, ItIsTakenUpWhileItIsMounted) {
    start_xfs();
    mount_xfs_root();
    const AssumePlan plan = take_up();
    EXPECT_EQ(text("/etc/hostname"), "web-1\n");
    EXPECT_THAT(text("/etc/fstab"), Not(HasSubstr(test::kGoldenSwap)));
    {
        RunningSystem again = running();
        EXPECT_TRUE(planned(again, options()).empty());
    }
    ASSERT_EQ(::umount2(root_.c_str(), 0), 0);
    expect_sound_xfs();
    EXPECT_EQ(root_text("/etc/hostname"), "web-1\n");
    stop();
    EXPECT_NE(test::disk_guid(golden_), test::kGoldenDisk);
}

}  // namespace
}  // namespace dupengine::profiles
