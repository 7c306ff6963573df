// A disk that is in use while it is copied: what is written to it is seen, filesystems come to rest for a
// moment and never for longer than was promised, whatever happens to who asked for it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <future>
#include <thread>

#include "base/fd.h"
#include "block/open.h"
#include "machine/disk_uses.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/watched_reader.h"

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
    const test::PartitionNodes nodes(loop_);
    EXPECT_THROW(machine::WriteTracker(loop_.path() + "p1", 8 * kMiB), Error);
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
    std::vector<machine::MountPlace> mounts() const { return machine::look_at_uses(loop_.path()).mounts; }
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
    const machine::OpenFilesystems open(mounts());
    machine::FrozenFilesystems frozen(open, 10s);
    auto written = write_beside();
    EXPECT_EQ(written.wait_for(300ms), std::future_status::timeout) << "it is not at rest";
    EXPECT_TRUE(frozen.thaw());
    EXPECT_EQ(written.wait_for(60s), std::future_status::ready);
    EXPECT_TRUE(frozen.not_frozen().empty());
}

TEST_F(OnAFilesystem, TheDeadlineThawsAndTheOneWhoFrozeIsTold) {
    const machine::OpenFilesystems open(mounts());
    {
        machine::FrozenFilesystems frozen(open, 200ms);
        auto written = write_beside();
        EXPECT_EQ(written.wait_for(60s), std::future_status::ready);
        EXPECT_FALSE(frozen.thaw()) << "what was read in that time would be called one moment's";
    }
    machine::FrozenFilesystems again(open, 10s);
    EXPECT_TRUE(again.thaw()) << "it can be tried again";
}

TEST_F(OnAFilesystem, ItThawsWhenTheOneWhoFrozeIsKilled) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const machine::OpenFilesystems open(mounts());
        std::thread beside([] { ::pause(); });
        machine::FrozenFilesystems frozen(open, 60s);
        if (::write(ready[1], "x", 1) == 1) ::pause();
        ::_exit(1);
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    auto written = write_beside();
    EXPECT_EQ(written.wait_for(200ms), std::future_status::timeout);
    ::kill(child, SIGKILL);
    EXPECT_EQ(written.wait_for(60s), std::future_status::ready) << "the machine stands still for ever";
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]), ::close(ready[1]);
}

TEST_F(OnAFilesystem, OneThatSomebodyElseFrozeIsLeftToHim) {
    must_run({"fsfreeze", "--freeze", root_});
    const machine::OpenFilesystems open(mounts());
    EXPECT_THROW(machine::FrozenFilesystems(open, 10s), Error);
    auto written = write_beside();
    EXPECT_EQ(written.wait_for(300ms), std::future_status::timeout) << "it was thawed";
    must_run({"fsfreeze", "--unfreeze", root_});
    EXPECT_EQ(written.wait_for(60s), std::future_status::ready);
}

TEST_F(OnAFilesystem, OneThatStandsOnAnotherIsFrozenFirst) {
    const std::string file = root_ + "/inner.img", inner = folder_.file("inner");
    must_run({"truncate", "-s", "16M", file});
    const test::LoopDevice upper(file);
    must_run({"mkfs.ext4", "-q", upper.path()});
    const test::Mount mounted(upper.path(), inner);
    std::ofstream(inner + "/waiting") << "not on any disk yet";
    const auto both = mounts();
    EXPECT_GE(both.size(), 2u);
    const machine::OpenFilesystems open(both);
    machine::FrozenFilesystems frozen(open, 10s);
    EXPECT_TRUE(frozen.thaw()) << "the upper one could not write into the lower one";
}

TEST_F(OnAFilesystem, OneThatIsHiddenByAnotherMountIsNotTakenForIt) {
    must_run({"mount", "-t", "tmpfs", "none", root_});
    EXPECT_THROW(machine::OpenFilesystems{mounts()}, Error) << "another filesystem would be frozen";
    const std::string second = folder_.file("second");
    {
        const test::Mount reachable(loop_.path(), second);
        const machine::OpenFilesystems open(mounts());
        ASSERT_EQ(open.all().size(), 1u);
        EXPECT_EQ(open.all()[0].path, second);
    }
    must_run({"umount", root_});
}

TEST_F(OnAFilesystem, AFileOfItThatIsMountedElsewhereIsNoHindrance) {
    write_file("hosts");
    const std::string file = folder_.file("hosts");
    must_run({"touch", file});
    must_run({"mount", "--bind", root_ + "/hosts", file});
    const machine::OpenFilesystems open(mounts());
    EXPECT_EQ(open.all().size(), 1u);
    must_run({"umount", file});
}

class AHotDisk : public OnAFilesystem {
  protected:
    // Freezing takes its time on a busy machine.
    machine::HotDisk make(machine::HotOptions options = {20s}) {
        options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
        return machine::HotDisk(*disk_, loop_.path(), std::move(options));
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
    Bytes then(first.size()), now(first.size());
    hot.read_from_medium(first.begin, then);
    write_at(first.begin, first.size());  // nobody needs this filesystem any more
    hot.read_from_medium(first.begin, now);
    EXPECT_EQ(now, then) << "it went on with the disk";
    Bytes other(4096);
    EXPECT_THROW(hot.read_from_medium(kSize - 4096, other), Error) << "that is of another moment";
    EXPECT_THROW(hot.read(kSize - 4096, other), Error);
    EXPECT_THROW(hot.round(2), Error);
}

TEST_F(AHotDisk, WhatPlanningReadStaysAsItWasUntilTheFirstRound) {
    machine::HotDisk hot = make(machine::HotOptions{20s});
    Bytes then(256 * kKiB), later(256 * kKiB), medium(256 * kKiB);
    hot.look_at_rest([&] {
        hot.read(0, std::span(then).first(100));  // is kept, with its surroundings
        disk_->read_from_medium(0, then);
        return ExtentSet{{128 * kKiB, 192 * kKiB}};
    });
    for (int i = 0; i < 20; ++i)
        write_file(fmt::format("file{}", i));
    must_run({"sync", "-f", root_});
    hot.read(0, later);
    hot.read_from_medium(0, medium);
    const auto is_same = [&](const Bytes& a, const Bytes& b, Extent e) {
        return std::equal(a.begin() + static_cast<std::ptrdiff_t>(e.begin),
                          a.begin() + static_cast<std::ptrdiff_t>(e.end),
                          b.begin() + static_cast<std::ptrdiff_t>(e.begin));
    };
    EXPECT_TRUE(is_same(then, later, {0, 64 * kKiB}));
    EXPECT_TRUE(is_same(then, later, {128 * kKiB, 192 * kKiB}));
    EXPECT_TRUE(is_same(medium, later, {64 * kKiB, 128 * kKiB}));
    EXPECT_FALSE(is_same(then, medium, {0, 64 * kKiB})) << "nothing changed: the test showed nothing";
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=8", "status=none"});
    ASSERT_FALSE(hot.round(1)->is_last);
    hot.read(0, later);
    hot.read_from_medium(0, medium);
    EXPECT_EQ(later, medium) << "what nobody needs any more is kept, and would be in the image of the memory";
}

TEST_F(AHotDisk, AVetoCallsItOffAndNothingStandsStill) {
    machine::HotOptions options{20s};
    options.prepare = [] { throw_error(Code::kRefused, "not now"); };
    machine::HotDisk hot = make(std::move(options));
    hot.look_at_rest([] { return ExtentSet{}; });
    EXPECT_THROW(hot.round(1), Error);
    EXPECT_NO_THROW(write_file("after"));
}

TEST_F(AHotDisk, WithoutAnyWritesAShortPauseIsEnough) {
    machine::HotOptions options;
    options.max_pause = 2s;
    machine::HotDisk hot = make(std::move(options));
    hot.look_at_rest([] {
        std::this_thread::sleep_for(2200ms);  // planning takes longer than that
        return ExtentSet{};
    });
    EXPECT_TRUE(hot.round(1)->is_last);
}

TEST_F(AHotDisk, ARoundBeforeTheLastMakesThePauseShorter) {
    machine::HotDisk hot = make(machine::HotOptions{20s});
    hot.look_at_rest([] { return ExtentSet{}; });
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=8", "status=none"});
    EXPECT_FALSE(hot.round(1)->is_last) << "8 MiB were read in the pause";
    EXPECT_TRUE(hot.round(2)->is_last);
}

TEST_F(AHotDisk, ARoundMoreThanThereMayBeIsNotWorthIt) {
    machine::HotOptions options{20s};
    options.most_rounds = 1;
    machine::HotDisk hot = make(std::move(options));
    hot.look_at_rest([] { return ExtentSet{}; });
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=8", "status=none"});
    EXPECT_TRUE(hot.round(1)->is_last);
}

TEST_F(AHotDisk, ADiskThatIsWrittenTooFastIsGivenUpWithoutAPause) {
    machine::HotOptions options;
    options.max_pause = 200ms;
    bool was_prepared = false;
    options.prepare = [&] { was_prepared = true; };
    machine::HotDisk hot = make(std::move(options));
    hot.look_at_rest([] { return ExtentSet{}; });
    std::string refused;
    for (std::uint32_t number = 1; number < 100 && refused.empty(); ++number) {
        must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=28", "status=none"});
        try {
            EXPECT_FALSE(hot.round(number)->is_last);
        } catch (const Error& e) {
            refused = e.what();
        }
    }
    EXPECT_NE(refused.find("--max-pause"), std::string::npos) << refused;
    EXPECT_FALSE(was_prepared);
}

// Whoever writes past the filesystems is not brought to rest; it shows while they are.
TEST_F(AHotDisk, ARawWriterKeepsItFromBeingOneMoment) {
    bool is_watched = false;
    const test::WatchedReader watched(*disk_, [&] {
        if (is_watched) write_at(kSize - 4096, 4096);
    });
    machine::HotOptions options{20s};
    options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
    machine::HotDisk hot(watched, loop_.path(), options);
    hot.look_at_rest([] { return ExtentSet{}; });
    is_watched = true;
    std::string refused;
    for (std::uint32_t number = 1; number < 20 && refused.empty(); ++number) {
        write_file("something to read");
        try {
            EXPECT_FALSE(hot.round(number)->is_last);
        } catch (const Error& e) {
            refused = e.what();
        }
    }
    EXPECT_NE(refused.find("was not at rest"), std::string::npos) << refused;
}

// The answer that says so may be lost with its connection: then the round is asked for again.
TEST_F(AHotDisk, AfterARoundThatFailedThereIsNoOther) {
    bool is_broken = false;
    const test::WatchedReader watched(*disk_, [&] {
        if (is_broken) throw_error(Code::kSourceIo, "a bad sector");
    });
    machine::HotOptions options{20s};
    options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
    machine::HotDisk hot(watched, loop_.path(), options);
    hot.look_at_rest([] { return ExtentSet{}; });
    write_file("something to read");
    is_broken = true;
    EXPECT_THROW(hot.round(1), Error);
    is_broken = false;
    EXPECT_THROW(hot.round(1), Error)
        << "what was written is in no round, and the copy would be called whole";
    EXPECT_NO_THROW(write_file("after")) << "the machine stands still";
}

TEST_F(AHotDisk, ManyScatteredPlacesAreNamedInFewer) {
    const std::string file = folder_.sparse_file("large.img", 3 * 1024 * kMiB);
    const test::LoopDevice large(file);
    machine::WriteTracker tracker(large.path(), 3 * 1024 * kMiB);
    const Fd fd = open_path(large.path(), O_WRONLY | O_DIRECT, Code::kInternal);
    alignas(4096) static std::byte block[4096];
    for (ByteOffset at = 0; at < 2200 * kMiB; at += 8192)
        pwrite_exact(fd.get(), at, block, Code::kInternal, "large");
    const ExtentSet written = tracker.take();
    EXPECT_LE(written.count(), block::kMostChanges);
    for (ByteOffset at = 0; at < 2200 * kMiB; at += 64 * kMiB)
        EXPECT_TRUE(written.contains({at, at + 4096}));
}

// Two partitions: a disk as people have it.
class APartitionedDisk : public testing::Test {
  protected:
    APartitionedDisk() {
        must_run({"sgdisk", "-n1:1M:+40M", "-n2:0:+20M", loop_.path()});
        nodes_.emplace(loop_);
        must_run({"mkfs.ext4", "-q", loop_.path() + "p1"});
        mount_.emplace(loop_.path() + "p1", folder_.file("root"));
    }
    test::ScratchFolder folder_;
    test::LoopDevice loop_{folder_.sparse_file("disk.img", kSize)};
    std::optional<test::PartitionNodes> nodes_;
    std::optional<test::Mount> mount_;
    const Extent second_{41 * kMiB, 61 * kMiB};
    std::unique_ptr<block::Reader> disk_ = block::open_source(loop_.path());
};

// What all rounds named until the disk was at rest. How many there are depends on what was written before.
ExtentSet follow_until_rest(machine::HotDisk& hot) {
    ExtentSet named;
    for (std::uint32_t number = 1;; ++number) {
        const auto round = hot.round(number);
        named.insert(round->extents);
        if (round->is_last) return named;
    }
}

TEST_F(APartitionedDisk, WhatIsMountedLaterIsBroughtToRestToo) {
    must_run({"mkfs.ext4", "-q", loop_.path() + "p2"});
    machine::HotOptions options{20s};
    options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
    std::optional<test::Mount> later;
    options.prepare = [&] {
        if (!later) later.emplace(loop_.path() + "p2", folder_.file("later"));
    };
    machine::HotDisk hot(*disk_, loop_.path(), options);
    hot.look_at_rest([] { return ExtentSet{}; });
    EXPECT_TRUE(follow_until_rest(hot).touches(second_))
        << "mounting it wrote nothing: the test showed nothing";
    // At rest it needs no journal.
    Bytes superblock(4096);
    hot.read_from_medium(second_.begin, superblock);
    const auto incompatible = load_le<std::uint32_t>(superblock, 1024 + 0x60);
    EXPECT_EQ(incompatible & 0x4, 0u) << "it was copied while it was written";
}

TEST_F(APartitionedDisk, WhatWasSwapIsFollowedWhenItBecomesAFilesystem) {
    must_run({"mkswap", loop_.path() + "p2"});
    must_run({"swapon", loop_.path() + "p2"});
    machine::HotOptions options{20s};
    options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
    machine::HotDisk hot(*disk_, loop_.path(), options);
    hot.look_at_rest([] { return ExtentSet{}; });
    EXPECT_EQ(machine::look_at_uses(loop_.path()).swap, (ExtentSet{{second_.begin + 4096, second_.end}}));
    const ByteOffset early = second_.begin + 500 * 4096;
    {
        const Fd fd = open_path(loop_.path(), O_WRONLY | O_DIRECT, Code::kInternal);
        alignas(4096) static std::byte block[4096];
        pwrite_exact(fd.get(), early, block, Code::kInternal, "as if it was swapped out");
    }
    must_run({"swapoff", loop_.path() + "p2"});
    must_run({"mkfs.ext4", "-q", "-F", loop_.path() + "p2"});
    const ExtentSet named = follow_until_rest(hot);
    EXPECT_TRUE(named.contains({early, early + 4096})) << "written while it was swap";
    EXPECT_TRUE(named.contains({second_.begin + 4096, second_.begin + 8192}));
}

}  // namespace
}  // namespace dupengine
