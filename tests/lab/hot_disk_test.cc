// A disk in use on Debian's own kernel: filesystems that cannot be frozen, and what stands on device-mapper.
// Runs on the lab machine.

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/fd.h"
#include "block/disk_row.h"
#include "block/open.h"
#include "machine/digest_tracker.h"
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

// A volume of device-mapper, until the end.
class Volume {
  public:
    explicit Volume(const std::string& table) {
        must_run({"dmsetup", "create", "--noudevrules", "--noudevsync", name_, "--table", table});
        path_ = "/dev/" + must_run({"dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname", name_});
        path_.erase(path_.find_last_not_of('\n') + 1);
    }
    ~Volume() { run_program({"dmsetup", "remove", "--noudevrules", "--noudevsync", name_}); }
    Volume(const Volume&) = delete;
    Volume& operator=(const Volume&) = delete;
    const std::string& path() const { return path_; }

  private:
    std::string name_ = "hot" + std::to_string(::getpid()), path_;
};

TEST_F(DebianKernel, AVolumeOfTheDiskIsFollowedAndComesToRest) {
    const Volume volume(fmt::format("0 {} linear {} 2048", kSize / 512 - 2048, loop_.path()));
    must_run({"mkfs.ext4", "-q", volume.path()});
    const Mount mount(volume.path(), root_);
    machine::HotDisk hot = make(*disk_);
    hot.look_at_rest([] { return ExtentSet{}; });
    write_file(root_ + "/file");
    const auto last = hot.round(1);
    EXPECT_TRUE(last->is_last);
    EXPECT_GE(last->extents.total_bytes(), 10'000u) << "what was written through the volume was not seen";
    EXPECT_TRUE(hot.report().notes.empty());
}

// The same, without BPF: used blocks of the volume's filesystem are not understood here, so all is compared.
TEST_F(DebianKernel, AVolumeOfTheDiskComesToRestWhereNobodyTellsOfWrites) {
    const Volume volume(fmt::format("0 {} linear {} 2048", kSize / 512 - 2048, loop_.path()));
    must_run({"mkfs.ext4", "-q", volume.path()});
    const Mount mount(volume.path(), root_);
    machine::HotOptions options;
    options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
    options.max_pause = std::chrono::seconds(300);
    SeededRandom random(1);
    machine::HotDisk hot(*disk_,
                         std::make_unique<machine::DigestTracker>(
                             *disk_, std::vector<machine::FollowedDisk>{{loop_.path(), kSize}}, random),
                         options);
    hot.look_at_rest([] { return ExtentSet{}; });
    Bytes target(kSize);
    hot.read(0, target);
    write_file(root_ + "/file");
    for (std::uint32_t number = 1;; ++number) {
        const auto round = hot.round(number);
        EXPECT_LT(round->extents.total_bytes(), kSize / 2);
        for (const block::Extent e : round->extents)
            hot.read_from_medium(e.begin, std::span(target).subspan(e.begin, e.size()));
        if (round->is_last) break;
    }
    const std::string arrived = folder_.file("arrived.img");
    write_file_atomic(arrived, std::span(target).subspan(2048 * 512), 0600, Code::kInternal);
    EXPECT_EQ(run_program({"e2fsck", "-fn", arrived}).status, 0);
    EXPECT_EQ(run_program({"debugfs", "-R", "cat file", arrived}).out, std::string(10'000, 'x'));
}

TEST_F(DebianKernel, AVolumeOverTwoDisksIsFollowedOnBoth) {
    const LoopDevice other(folder_.sparse_file("other.img", kSize));
    const std::uint64_t half = kSize / 512 - 2048;
    const Volume volume(
        fmt::format("0 {0} linear {1} 2048\n{0} {0} linear {2} 2048", half, loop_.path(), other.path()));
    must_run({"mkfs.ext4", "-q", volume.path()});
    const Mount mount(volume.path(), root_);
    const auto other_disk = block::open_source(other.path());
    const block::DiskRow row({disk_.get(), other_disk.get()});
    std::vector<machine::FollowedDisk> disks;
    for (const block::RowPlace& place : row.places())
        disks.push_back({place.name, place.geometry.size_bytes, place.begin});
    machine::HotOptions options;
    options.look_at_uses = [disks] { return machine::look_at_uses(disks); };
    options.max_pause = std::chrono::seconds(60);
    EXPECT_EQ(machine::look_at_uses(disks).mounts.size(), 1u) << "one filesystem is frozen once";
    machine::HotDisk hot(row, std::make_unique<machine::RowTracker>(disks), options);
    hot.look_at_rest([] { return ExtentSet{}; });
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=80", "conv=fsync"});
    ExtentSet seen;
    for (std::uint32_t number = 1; number < 10; ++number) {
        const auto round = hot.round(number);
        seen.insert(round->extents);
        if (round->is_last) break;
    }
    EXPECT_GE(block::on_disk(seen, row.places()[0]).total_bytes(), 15 * kMiB);
    EXPECT_GE(block::on_disk(seen, row.places()[1]).total_bytes(), 15 * kMiB);
    EXPECT_TRUE(hot.report().notes.empty());
    EXPECT_GT(hot.report().last_pause, 0);

    std::string refused;
    try {
        const machine::WriteTracker tracker(volume.path(), 2 * kSize);
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUnsupported);
        refused = e.what();
    }
    for (const std::string& disk : {loop_.path(), other.path()})
        EXPECT_NE(refused.find(disk), std::string::npos) << refused << " does not say what to name instead";
}

}  // namespace
}  // namespace dupengine::test
