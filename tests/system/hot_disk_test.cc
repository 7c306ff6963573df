// A disk that is in use while it is copied: what is written to it is seen, filesystems come to rest for a
// moment and never for longer than was promised, whatever happens to who asked for it.

#include "machine/hot_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <future>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/aged_filesystem.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using block::Extent;
using block::ExtentSet;
using test::must_run;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kSize = 64 * kMiB;

class OnADisk : public testing::Test {
  protected:
    void write_at(ByteOffset offset, std::size_t size) const {
        must_run({"dd", "if=/dev/urandom", "of=" + loop_.path(), "bs=" + std::to_string(size), "count=1",
                  fmt::format("seek={}B", offset), "oflag=direct,seek_bytes", "conv=notrunc", "status=none"});
    }
    test::ScratchFolder folder_;
    test::LoopDevice loop_{folder_.sparse_file("disk.img", kSize)};
};

TEST_F(OnADisk, EveryWriteIsNamedOnceAndNothingElse) {
    machine::WriteTracker tracker(loop_.path(), kSize);
    EXPECT_EQ(tracker.granule_bytes(), 4096u);
    const test::LoopDevice other(folder_.sparse_file("other.img", kSize));
    must_run({"dd", "if=/dev/zero", "of=" + other.path(), "bs=1M", "count=4", "oflag=direct", "status=none"});
    must_run({"dd", "if=" + loop_.path(), "of=/dev/null", "bs=1M", "iflag=direct", "status=none"});
    EXPECT_EQ(tracker.take(), ExtentSet{}) << "another disk, or only read";
    write_at(4096, 512);
    write_at(20 * kMiB, kMiB);
    write_at(kSize - 512, 512);
    EXPECT_EQ(tracker.pending_bytes(), 4096 + kMiB + 4096);
    EXPECT_EQ(tracker.take(), (ExtentSet{{4096, 8192}, {20 * kMiB, 21 * kMiB}, {kSize - 4096, kSize}}));
    EXPECT_EQ(tracker.take(), ExtentSet{});
}

TEST_F(OnADisk, WhatIsDiscardedOrZeroedIsNamed) {
    machine::WriteTracker tracker(loop_.path(), kSize);
    must_run(
        {"blkdiscard", "-f", "-o", std::to_string(8 * kMiB), "-l", std::to_string(2 * kMiB), loop_.path()});
    must_run({"blkdiscard", "-f", "-z", "-o", std::to_string(32 * kMiB), "-l", std::to_string(kMiB),
              loop_.path()});
    EXPECT_EQ(tracker.take(), (ExtentSet{{8 * kMiB, 10 * kMiB}, {32 * kMiB, 33 * kMiB}}));
}

TEST_F(OnADisk, ThatIsOnlyAPartOrAFileCannotBeWatched) {
    must_run({"sgdisk", "-n1:1M:+8M", loop_.path()});
    must_run({"partx", "-a", loop_.path()});
    EXPECT_THROW(machine::WriteTracker(loop_.path() + "p1", 8 * kMiB), Error);
    must_run({"partx", "-d", loop_.path()});
    EXPECT_THROW(machine::WriteTracker(folder_.file("disk.img"), kSize), Error);
}

class OnAFilesystem : public OnADisk {
  protected:
    OnAFilesystem() { must_run({"mkfs.ext4", "-q", loop_.path()}); }
    void SetUp() override { mount_.emplace(loop_.path(), root_); }

    void write_file(const std::string& name) const {
        const Fd fd = open_path(root_ + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, Code::kInternal);
        pwrite_exact(fd.get(), 0, as_bytes(std::string("some text")), Code::kInternal, name);
        if (::fsync(fd.get()) != 0) throw_errno(Code::kInternal, errno, "{}", name);
    }
    // How long a program waits that writes now.
    std::future<Clock::time_point> write_beside() const {
        return std::async(std::launch::async, [this] {
            write_file("beside");
            return Clock::now();
        });
    }

    const std::string root_ = folder_.file("root");
    std::optional<test::Mount> mount_;
};

TEST_F(OnAFilesystem, WhoWritesWaitsUntilItThaws) {
    machine::FilesystemFreezer freezer({root_}, 10s);
    freezer.freeze();
    auto written = write_beside();
    EXPECT_EQ(written.wait_for(300ms), std::future_status::timeout) << "it is not at rest";
    freezer.thaw();
    EXPECT_EQ(written.wait_for(5s), std::future_status::ready);
    EXPECT_TRUE(freezer.not_frozen().empty());
}

TEST_F(OnAFilesystem, TheDeadlineThawsAndTheOneWhoFrozeIsTold) {
    machine::FilesystemFreezer freezer({root_}, 200ms);
    freezer.freeze();
    auto written = write_beside();
    EXPECT_EQ(written.wait_for(5s), std::future_status::ready);
    EXPECT_THROW(freezer.thaw(), Error) << "what was read in that time would be called one moment's";
    freezer.freeze();
    EXPECT_NO_THROW(freezer.thaw()) << "it can be tried again";
}

TEST_F(OnAFilesystem, ItThawsWhenTheOneWhoFrozeIsKilled) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        machine::FilesystemFreezer freezer({root_}, 60s);
        freezer.freeze();
        if (::write(ready[1], "x", 1) == 1) ::pause();
        ::_exit(1);
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    auto written = write_beside();
    EXPECT_EQ(written.wait_for(200ms), std::future_status::timeout);
    ::kill(child, SIGKILL);
    EXPECT_EQ(written.wait_for(5s), std::future_status::ready) << "the machine stands still for ever";
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]), ::close(ready[1]);
}

TEST_F(OnAFilesystem, OneThatSomebodyElseFrozeIsLeftToHim) {
    must_run({"fsfreeze", "--freeze", root_});
    {
        machine::FilesystemFreezer freezer({root_}, 10s);
        EXPECT_THROW(freezer.freeze(), Error);
    }
    auto written = write_beside();
    EXPECT_EQ(written.wait_for(300ms), std::future_status::timeout) << "it was thawed";
    must_run({"fsfreeze", "--unfreeze", root_});
    EXPECT_EQ(written.wait_for(5s), std::future_status::ready);
}

class AHotDisk : public OnAFilesystem {
  protected:
    machine::HotDisk make(machine::HotOptions options = {}) {
        return machine::HotDisk(*disk_, loop_.path(), {root_}, std::move(options));
    }
    std::unique_ptr<block::Reader> disk_ = block::open_source(loop_.path());
};

TEST_F(AHotDisk, TheLastRoundIsOfOneMoment) {
    machine::HotDisk hot = make();
    hot.look_at_rest([] { return ExtentSet{}; });
    write_file("new");
    const auto last = hot.round(1);
    ASSERT_TRUE(last->is_last);
    ASSERT_FALSE(last->extents.empty());
    EXPECT_EQ(hot.round(1), last) << "asked again after a broken connection, it is the same";
    const Extent first = *last->extents.begin();
    const Bytes then = [&] {
        Bytes bytes(first.size());
        hot.read_from_medium(first.begin, bytes);
        return bytes;
    }();
    write_at(first.begin, first.size());  // nobody needs this filesystem any more
    Bytes now(first.size());
    hot.read_from_medium(first.begin, now);
    EXPECT_EQ(now, then) << "it went on with the disk";
    Bytes other(4096);
    EXPECT_THROW(hot.read_from_medium(kSize - 4096, other), Error) << "that is of another moment";
    EXPECT_THROW(hot.round(2), Error);
}

TEST_F(AHotDisk, WhatPlanningReadStaysAsItWas) {
    machine::HotDisk hot = make();
    Bytes then(kMiB), later(kMiB), medium(kMiB);
    hot.look_at_rest([&] {
        disk_->read_from_medium(0, then);
        return ExtentSet{{0, 64 * kKiB}, {128 * kKiB, kMiB}};
    });
    for (int i = 0; i < 20; ++i)
        write_file(fmt::format("file{}", i));
    must_run({"sync", "-f", root_});
    hot.read(0, later);
    hot.read_from_medium(0, medium);
    EXPECT_EQ(Bytes(then.begin(), then.begin() + 64 * kKiB), Bytes(later.begin(), later.begin() + 64 * kKiB));
    EXPECT_NE(Bytes(then.begin(), then.begin() + 64 * kKiB),
              Bytes(medium.begin(), medium.begin() + 64 * kKiB))
        << "nothing changed: the test showed nothing";
}

TEST_F(AHotDisk, AVetoCallsItOffAndNothingStandsStill) {
    machine::HotOptions options;
    options.prepare = [] { throw_error(Code::kRefused, "not now"); };
    machine::HotDisk hot = make(std::move(options));
    hot.look_at_rest([] { return ExtentSet{}; });
    EXPECT_THROW(hot.round(1), Error);
    EXPECT_NO_THROW(write_file("after"));
}

TEST_F(AHotDisk, ADiskThatIsWrittenTooFastIsGivenUpWithoutAPause) {
    machine::HotOptions options;
    options.max_pause = 0ms;
    bool was_prepared = false;
    options.prepare = [&] { was_prepared = true; };
    machine::HotDisk hot = make(std::move(options));
    hot.look_at_rest([] { return ExtentSet{}; });
    std::string refused;
    for (std::uint32_t number = 1; number < 100 && refused.empty(); ++number) {
        write_file("again");
        try {
            EXPECT_FALSE(hot.round(number)->is_last);
        } catch (const Error& e) {
            refused = e.what();
        }
    }
    EXPECT_NE(refused.find("--max-pause"), std::string::npos) << refused;
    EXPECT_FALSE(was_prepared);
}

}  // namespace
}  // namespace dupengine
