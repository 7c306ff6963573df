// A caller (an init script, a cron job, a daemon) may start the command with standard input, output or error
// closed. What is meant for them must never land on a disk.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "base/subprocess.h"
#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using test::must_run;

class AnyClosedStreams : public testing::TestWithParam<const char*> {
  protected:
    RunResult run(const std::string& arguments) const {
        return run_program({"bash", "-c", fmt::format("{} {} {}", test::command(), arguments, GetParam())});
    }
    // The filesystem without a table is compared as it is: text at its first byte would show.
    void expect_copy_of(const std::string& source) {
        const test::LoopDevice loop(folder_.sparse_file("target.img", 16 << 20));
        run("copy --yes --trust " + folder_.file("key.pub") + " " + source + " " + loop.path());
        EXPECT_EQ(run_program({"cmp", "-n", std::to_string(8 << 20), disk_, loop.path()}).status, 0)
            << source << " " << GetParam();
        must_run({"e2fsck", "-fn", loop.path()});
    }
    void SetUp() override {
        must_run({"mkfs.ext4", "-q", "-O", "^has_journal", disk_});
        must_run({"e2fsck", "-fp", disk_});
    }

    test::ScratchFolder folder_;
    std::string disk_ = folder_.sparse_file("disk.img", 8 << 20);
};

TEST_P(AnyClosedStreams, ARawImageComesWhole) {
    expect_copy_of(disk_);
}

TEST_P(AnyClosedStreams, APackedImageComesWhole) {
    must_run({"gzip", "-k", disk_});
    expect_copy_of(disk_ + ".gz");
}

TEST_P(AnyClosedStreams, AQcow2ImageComesWhole) {
    must_run({"qemu-img", "convert", "-O", "qcow2", disk_, folder_.file("disk.qcow2")});
    expect_copy_of(folder_.file("disk.qcow2"));
}

TEST_P(AnyClosedStreams, AStoreAndATarComeWhole) {
    must_run({test::command(), "image", "keygen", folder_.file("key")});
    for (const std::string& image : {"image:" + folder_.file("store"), "image:" + folder_.file("disk.tar")}) {
        must_run({test::command(), "copy", "--sign-key", folder_.file("key"), disk_, image});
        expect_copy_of(image);
    }
}

INSTANTIATE_TEST_SUITE_P(, AnyClosedStreams,
                         testing::Values("2>&-", "<&-", ">&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"));

TEST(ClosedStreams, AReportThatCannotBeGivenIsAnError) {
    const test::ScratchFolder folder;
    const std::string disk = folder.sparse_file("disk.img", 1 << 20);
    const RunResult result =
        run_program({"bash", "-c", test::command() + " inspect --json " + disk + " >&-"});
    EXPECT_EQ(result.status, 1) << result.err;
}

}  // namespace
}  // namespace dupengine
