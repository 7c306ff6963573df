// Copies that are cut and go on by their journal, as people meet it: killed, stopped, and what happened to
// the source in between.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "layout/content_state.h"
#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::DiskImage;
using test::LoopDevice;
using test::must_run;
using test::ScratchFolder;

constexpr std::uint64_t kLarger = 128 << 20;

// The time of a file that was just made could be that of a later change, too.
void let_settle(const std::string& path) {
    struct stat st {};
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    for (std::time_t now = std::time(nullptr); now < st.st_ctim.tv_sec + 3; now = std::time(nullptr)) {
        if (!layout::content_state(path).empty()) return;
        ::usleep(50'000);
    }
}

// Copies slowly, and sends a signal when `megabytes` of the target file are there.
RunResult copy_and_signal(const std::string& source, const std::string& target, const std::string& file,
                          unsigned megabytes, const std::string& signal) {
    const std::string script = fmt::format(
        "{} copy --yes --rate=8M --progress=none {} {} & copy=$!\n"
        "while [ $(stat -c %b {}) -lt {} ] && kill -0 $copy; do sleep 0.02; done\n"
        "kill -{} $copy; wait $copy",
        test::command(), source, target, file, megabytes * 2048, signal);
    return run_program({"bash", "-c", script});
}

json resume(const std::string& source, const std::string& target) {
    const RunResult result = test::run_dupengine({"copy", "--yes", "--json", source, target});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
}

// One source for all: making it takes longer than copying it.
class Resume : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        shared_ = new ScratchFolder;
        made_ = new DiskImage(test::make_disk_image(*shared_, "source.img"));
        let_settle(made_->path);
    }
    static void TearDownTestSuite() {
        delete made_;
        delete shared_;
    }
    // For a test that writes to it.
    void take_own_source() {
        must_run({"cp", "--sparse=always", made_->path, folder_.file("source.img")});
        source_.path = folder_.file("source.img");
        let_settle(source_.path);
    }
    void expect_copy() const {
        must_run({"sgdisk", "-v", target_});
        for (const block::Extent same : {block::Extent{34 * 512, kMiB}, source_.esp})
            EXPECT_EQ(run_program({"cmp", "-i", std::to_string(same.begin), "-n", std::to_string(same.size()),
                                   source_.path, target_})
                          .status,
                      0);
        const std::string before = folder_.file("before.img"), after = folder_.file("after.img");
        test::extract_range(source_.path, source_.root, before);
        test::extract_range(target_, source_.root, after);
        EXPECT_EQ(run_program({"e2fsck", "-fn", after}).status, 0);
        EXPECT_EQ(test::ext_tree_digest(folder_, after), test::ext_tree_digest(folder_, before));
    }

    static ScratchFolder* shared_;
    static DiskImage* made_;
    ScratchFolder folder_;
    DiskImage source_ = *made_;
    std::string target_ = folder_.sparse_file("target.img", kLarger);
};
ScratchFolder* Resume::shared_ = nullptr;
DiskImage* Resume::made_ = nullptr;

bool has_note(const json& report, const std::string& text) {
    return report["notes"].dump().find(text) != std::string::npos;
}

TEST_F(Resume, AKilledCopyBetweenDevicesGoesOnByItsJournal) {
    const LoopDevice from(source_.path), to(target_);
    // The first record is made after two seconds; a busy machine takes longer to get there. A sample of a
    // chunk is read anyway: of less than a few chunks nothing is saved that could be seen.
    constexpr std::uint64_t kEnough = 3 * kMiB;
    std::uint64_t planned = 0;
    for (const char* seconds : {"4.9", "4.9", "6.9"}) {
        run_program({"timeout", "-s", "KILL", seconds, test::command(), "copy", "--yes", "--rate=2M",
                     "--progress=none", from.path(), to.path()});
        const RunResult plan = test::run_dupengine({"copy", "--dry-run", "--json", from.path(), to.path()});
        ASSERT_EQ(plan.status, 0) << plan.err;
        planned = json::parse(plan.out)["plan"]["bytes_to_resume"];
        if (planned >= kEnough) break;
    }
    ASSERT_GE(planned, kEnough) << "no kill came after a record: the test showed nothing";
    const json report = resume(from.path(), to.path());
    const std::uint64_t resumed = report["bytes_resumed"], used = report["bytes_used"],
                        read = report["bytes_read"];
    EXPECT_EQ(resumed, planned);
    EXPECT_LT(read, used - resumed / 2) << report.dump(1);
    EXPECT_EQ(report["result"], "verified");
    expect_copy();
}

TEST_F(Resume, AStoppedCopyOfAFileSaysWhatWasSaved) {
    EXPECT_EQ(copy_and_signal(source_.path, target_, target_, 4, "INT").status, 10);
    const RunResult result = test::run_dupengine({"copy", "--yes", source_.path, target_});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("\nresumed  "), std::string::npos) << "not in the plan: " << result.out;
    EXPECT_NE(result.out.find("known by the journal"), std::string::npos) << result.out;
    expect_copy();
    const json again = resume(source_.path, target_);
    EXPECT_EQ(again["bytes_resumed"], 0) << "a finished copy left a journal";
}

TEST_F(Resume, ASourceFileThatWasWrittenSinceIsComparedAnew) {
    take_own_source();
    EXPECT_EQ(copy_and_signal(source_.path, target_, target_, 4, "INT").status, 10);
    {
        const Fd fd = open_path(source_.path, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), source_.esp.begin + 3, Bytes(8, std::byte{0x77}), Code::kInternal, "OEM name");
    }
    const json report = resume(source_.path, target_);
    EXPECT_EQ(report["bytes_resumed"], 0);
    EXPECT_GT(report["bytes_equal"], 2u << 20) << "what was there is written again";
    expect_copy();
}

TEST_F(Resume, ASourceDeviceThatWasWrittenSinceIsComparedAnew) {
    take_own_source();
    const LoopDevice from(source_.path), to(target_);
    EXPECT_EQ(copy_and_signal(from.path(), to.path(), target_, 4, "INT").status, 10);
    must_run({"dd", "if=/dev/urandom", "of=" + from.path(), "bs=512", "count=1", "seek=1000", "status=none"});
    const json report = resume(from.path(), to.path());
    EXPECT_EQ(report["bytes_resumed"], 0);
    EXPECT_TRUE(has_note(report, "the source is still the same")) << report["notes"];
    expect_copy();
}

TEST(ContentState, OfAFileThatIsLeftAloneStaysTheSame) {
    const ScratchFolder folder;
    const std::string path = folder.sparse_file("file", kMiB);
    EXPECT_EQ(layout::content_state(path), "") << "a change in the same moment would not show";
    let_settle(path);
    const std::string state = layout::content_state(path);
    ASSERT_NE(state, "");
    EXPECT_EQ(layout::content_state(path), state);
    must_run({"touch", "-d", "2020-01-01", path});
    EXPECT_NE(layout::content_state(path), state);
}

TEST(ContentState, OfAFileThatAProgramMayWriteShowsNothing) {
    const ScratchFolder folder;
    const std::string path = folder.sparse_file("file", kMiB);
    let_settle(path);
    const Fd writer = open_path(path, O_RDWR, Code::kInternal);
    EXPECT_EQ(layout::content_state(path), "");
}

TEST(ContentState, OfADeviceChangesWithEveryWriteAndWithItsFile) {
    const ScratchFolder folder;
    const std::string path = folder.sparse_file("file", kMiB), other = folder.sparse_file("other", kMiB);
    let_settle(path);
    const LoopDevice loop(path);
    must_run({"dd", "if=" + loop.path(), "of=/dev/null", "count=1", "status=none"});
    const std::string state = layout::content_state(loop.path());
    ASSERT_NE(state, "");
    EXPECT_EQ(layout::content_state(loop.path()), state);
    // Through the page cache, and not closed yet.
    const Fd writer = open_path(loop.path(), O_RDWR, Code::kInternal);
    pwrite_exact(writer.get(), 4096, Bytes(512, std::byte{1}), Code::kInternal, "loop");
    EXPECT_NE(layout::content_state(loop.path()), state);
    must_run({"sh", "-c", "printf x | dd conv=notrunc status=none of=" + path});
    EXPECT_EQ(layout::content_state(loop.path()), "") << "written below it a moment ago";
}

}  // namespace
}  // namespace dupengine
