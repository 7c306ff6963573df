// A disk in use on Debian's own kernel: filesystems that cannot be frozen, and what stands on device-mapper.
// Runs on the lab machine.

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/fd.h"
#include "block/open.h"
#include "machine/disk_uses.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/watched_reader.h"

namespace dupengine::test {
namespace {

using block::ExtentSet;

constexpr std::uint64_t kSize = 64 * kMiB;

class DebianKernel : public testing::Test {
  protected:
    machine::HotDisk make(const block::Reader& disk) {
        machine::HotOptions options;
        options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
        options.max_pause = std::chrono::seconds(20);  // the lab machine is slow
        return machine::HotDisk(disk, loop_.path(), std::move(options));
    }
    static void write_file(const std::string& path) {
        const Fd fd = open_path(path, O_WRONLY | O_CREAT | O_TRUNC, Code::kInternal);
        pwrite_exact(fd.get(), 0, as_bytes(std::string(10'000, 'x')), Code::kInternal, path);
        if (::fsync(fd.get()) != 0) throw_errno(Code::kInternal, errno, "{}", path);
    }

    ScratchFolder folder_;
    LoopDevice loop_{folder_.sparse_file("disk.img", kSize)};
    const std::string root_ = folder_.file("root");
    std::unique_ptr<block::Reader> disk_ = block::open_source(loop_.path());
};

TEST_F(DebianKernel, EveryWriteIsNamedOnceAndNothingElse) {
    machine::WriteTracker tracker(loop_.path(), kSize);
    const Fd fd = open_path(loop_.path(), O_WRONLY | O_DIRECT, Code::kInternal);
    alignas(4096) static std::byte block[8192];
    pwrite_exact(fd.get(), 20 * kMiB, block, Code::kInternal, "disk");
    must_run(
        {"blkdiscard", "-f", "-o", std::to_string(8 * kMiB), "-l", std::to_string(2 * kMiB), loop_.path()});
    EXPECT_EQ(tracker.take(), (ExtentSet{{8 * kMiB, 10 * kMiB}, {20 * kMiB, 20 * kMiB + 8192}}));
}

TEST_F(DebianKernel, AFatThatNobodyWritesIsAtRest) {
    must_run({"mkfs.fat", loop_.path()});
    const Mount mount(loop_.path(), root_, "vfat");
    machine::HotDisk hot = make(*disk_);
    hot.look_at_rest([] { return ExtentSet{}; });
    write_file(root_ + "/file");
    EXPECT_TRUE(hot.round(1)->is_last);
    ASSERT_EQ(hot.report().notes.size(), 1u) << "nobody says that it was not frozen";
    EXPECT_NE(hot.report().notes[0].find("cannot be frozen"), std::string::npos);
}

TEST_F(DebianKernel, AFatThatIsWrittenIsNeverOneMoment) {
    must_run({"mkfs.fat", loop_.path()});
    const Mount mount(loop_.path(), root_, "vfat");
    bool is_watched = false;
    const WatchedReader watched(*disk_, [&] {
        if (is_watched) write_file(root_ + "/beside");
    });
    machine::HotDisk hot = make(watched);
    hot.look_at_rest([] { return ExtentSet{}; });
    is_watched = true;
    std::string refused;
    for (std::uint32_t number = 1; number < 20 && refused.empty(); ++number) {
        write_file(root_ + "/file");
        try {
            EXPECT_FALSE(hot.round(number)->is_last);
        } catch (const Error& e) {
            refused = e.what();
        }
    }
    EXPECT_NE(refused.find("was not at rest"), std::string::npos) << refused;
}

TEST_F(DebianKernel, AVolumeOfTheDiskIsFollowedAndComesToRest) {
    const std::string name = "hot" + std::to_string(::getpid());
    const std::string table = fmt::format("0 {} linear {} 2048", kSize / 512 - 2048, loop_.path());
    must_run({"dmsetup", "create", "--noudevrules", "--noudevsync", name, "--table", table});
    std::string volume =
        "/dev/" + must_run({"dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname", name});
    volume.erase(volume.find_last_not_of('\n') + 1);
    must_run({"mkfs.ext4", "-q", volume});
    {
        const Mount mount(volume, root_);
        machine::HotDisk hot = make(*disk_);
        hot.look_at_rest([] { return ExtentSet{}; });
        write_file(root_ + "/file");
        const auto last = hot.round(1);
        EXPECT_TRUE(last->is_last);
        EXPECT_GE(last->extents.total_bytes(), 10'000u) << "what was written through the volume was not seen";
        EXPECT_TRUE(hot.report().notes.empty());
    }
    must_run({"dmsetup", "remove", "--noudevrules", "--noudevsync", name});
}

}  // namespace
}  // namespace dupengine::test
