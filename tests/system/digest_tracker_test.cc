// A disk in use whose writes nobody tells of: what changed is found by comparing digests of what was given
// away. Whatever one of these misses would be missing on the target, and nobody would know.

#include "machine/digest_tracker.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "base/fd.h"
#include "block/open.h"
#include "layout/describe.h"
#include "machine/disk_uses.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/watched_reader.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using block::Extent;
using block::ExtentSet;
using test::must_run;

constexpr std::uint64_t kSize = 64 * kMiB;

class AComparedDisk : public testing::Test {
  protected:
    // Freezing and reading take their time on a busy machine.
    std::unique_ptr<machine::HotDisk> make(machine::HotOptions options = {60s}) {
        return make(*disk_, std::move(options));
    }
    std::unique_ptr<machine::HotDisk> make(const block::Reader& reader, machine::HotOptions options = {60s}) {
        options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
        auto tracker = std::make_unique<machine::DigestTracker>(
            reader, std::vector<machine::FollowedDisk>{{loop_.path(), kSize}}, random_);
        return std::make_unique<machine::HotDisk>(reader, std::move(tracker), std::move(options));
    }
    void write_at(ByteOffset offset, std::span<const std::byte> bytes) const {
        const Fd fd = open_path(loop_.path(), O_WRONLY, Code::kInternal);
        pwrite_exact(fd.get(), offset, bytes, Code::kInternal, loop_.path());
        if (::fsync(fd.get()) != 0) throw_errno(Code::kInternal, errno, "{}", loop_.path());
    }
    Bytes read_at(Extent extent) const {
        Bytes bytes(extent.size());
        disk_->read_from_medium(extent.begin, bytes);
        return bytes;
    }
    // As the other end does: what is in use, then rounds until one is the last. What the target holds then.
    void give_away(const machine::HotDisk& hot, const ExtentSet& extents) {
        for (const Extent e : extents)
            hot.read(e.begin, std::span(target_).subspan(e.begin, e.size()));
    }
    ExtentSet follow_until_rest(machine::HotDisk& hot) {
        ExtentSet named;
        for (std::uint32_t number = 1;; ++number) {
            const auto round = hot.round(number);
            for (const Extent e : round->extents)
                hot.read_from_medium(e.begin, std::span(target_).subspan(e.begin, e.size()));
            named.insert(round->extents);
            if (round->is_last) return named;
        }
    }
    ExtentSet in_use() const {
        const auto disk = layout::describe_disk(*disk_, layout::Depth::kUsedExtents);
        ExtentSet used = disk.used.used;
        for (const auto& part : disk.partitions)
            used.insert(part.used.used.shifted(part.partition.extent.begin));
        return used;
    }
    static ExtentSet nothing() { return {}; }

    SeededRandom random_{1};
    test::ScratchFolder folder_;
    test::LoopDevice loop_{folder_.sparse_file("disk.img", kSize)};
    std::unique_ptr<block::Reader> disk_ = block::open_source(loop_.path());
    Bytes target_ = Bytes(kSize);
};

TEST_F(AComparedDisk, WhatIsWrittenAfterItWasGivenAwayIsNamed) {
    auto hot = make();
    hot->look_at_rest(nothing);
    give_away(*hot, {{0, kSize}});  // without a filesystem all of it is in use
    write_at(20 * kMiB + 512, Bytes(512, std::byte{7}));
    write_at(kSize - 512, Bytes(512, std::byte{8}));
    const ExtentSet named = follow_until_rest(*hot);
    EXPECT_EQ(named, (ExtentSet{{20 * kMiB, 20 * kMiB + 64 * kKiB}, {kSize - 64 * kKiB, kSize}}));
    EXPECT_EQ(target_, read_at({0, kSize}));
}

// A bit of a bitmap is set and cleared again in between.
TEST_F(AComparedDisk, WhatIsAsItWasBeforeButWasGivenAwayOtherwiseIsNamed) {
    auto hot = make();
    hot->look_at_rest(nothing);
    write_at(8 * kMiB, Bytes(4096, std::byte{1}));
    give_away(*hot, {{0, kSize}});
    write_at(8 * kMiB, Bytes(4096));
    EXPECT_TRUE(follow_until_rest(*hot).contains({8 * kMiB, 8 * kMiB + 4096}));
    EXPECT_EQ(target_, read_at({0, kSize}));
}

TEST_F(AComparedDisk, OfWhatIsGivenAwayInPartsAllPartsAreOfOneMoment) {
    auto hot = make();
    hot->look_at_rest(nothing);
    give_away(*hot, {{0, 8 * kMiB + 4096}});
    write_at(8 * kMiB, Bytes(4096, std::byte{1}));
    give_away(*hot, {{8 * kMiB + 4096, kSize}});  // the rest of a piece that holds something else by now
    follow_until_rest(*hot);
    EXPECT_EQ(target_, read_at({0, kSize}));
}

TEST_F(AComparedDisk, WhatTakesLongToReadIsToldInSeveralRoundsAndTheyAreOne) {
    machine::HotOptions options{60s};
    options.most_rounds = 2;
    machine::HotDisk hot(*disk_,
                         std::make_unique<machine::DigestTracker>(
                             *disk_, std::vector<machine::FollowedDisk>{{loop_.path(), kSize}}, random_, 0ms),
                         options);
    hot.look_at_rest(nothing);
    give_away(hot, {{0, kSize}});
    write_at(4096, Bytes(512, std::byte{1}));
    write_at(kSize - 4096, Bytes(512, std::byte{2}));
    EXPECT_EQ(follow_until_rest(hot), (ExtentSet{{0, 64 * kKiB}, {kSize - 64 * kKiB, kSize}}));
    EXPECT_EQ(target_, read_at({0, kSize}));
    EXPECT_GE(hot.report().round_bytes.size(), 16u) << "the other end waits for all of it";
}

TEST_F(AComparedDisk, WhoWritesPastAllFilesystemsKeepsItFromBeingOneMoment) {
    bool is_watched = false;
    const test::WatchedReader watched(*disk_, [&] {
        if (is_watched) write_at(kSize - 4096, Bytes(4096, std::byte{9}));
    });
    auto hot = make(watched);
    hot->look_at_rest(nothing);
    give_away(*hot, {{0, kSize}});
    is_watched = true;
    try {
        follow_until_rest(*hot);
        FAIL() << "what was read while somebody wrote is called one moment's";
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("was not at rest"), std::string::npos) << e.what();
    }
}

TEST_F(AComparedDisk, WhereReadingAllOfItTakesTooLongIsRefusedBeforeAnythingTravels) {
    const test::WatchedReader slow(*disk_, [] { std::this_thread::sleep_for(20ms); });
    auto hot = make(slow, machine::HotOptions{100ms});
    try {
        hot->look_at_rest(nothing);
        FAIL() << "64 MiB in reads of 1 MiB, four at a time, 20 ms each";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUnsupported);
        EXPECT_NE(std::string(e.what()).find("--max-pause"), std::string::npos) << e.what();
    }
}

// Disk contents of two moments: a file is gone, and is there again, in the same place with the same content.
class AFileThatComesBack : public AComparedDisk {
  protected:
    AFileThatComesBack() {
        must_run({"mkfs.ext4", "-q", "-E", "nodiscard", loop_.path()});
        {
            const test::Mount mount(loop_.path(), folder_.file("root"));
            must_run({"dd", "if=/dev/urandom", "of=" + folder_.file("root/file"), "bs=1M", "count=10",
                      "status=none"});
        }
        with_ = read_at({0, kSize});
        used_with_ = in_use();
        {
            const test::Mount mount(loop_.path(), folder_.file("root"));
            must_run({"rm", folder_.file("root/file")});
        }
    }
    Bytes with_;
    ExtentSet used_with_;
};

TEST_F(AFileThatComesBack, IsNamedThoughItsBlocksHoldWhatTheyHeld) {
    const ExtentSet used_without = in_use();
    ExtentSet came = used_with_;
    came.erase(used_without);
    ASSERT_GE(came.total_bytes(), 10 * kMiB) << "the test shows nothing";
    auto hot = make();
    hot->look_at_rest(nothing);
    give_away(*hot, used_without);
    const Bytes without = read_at({0, kSize});
    for (ByteOffset at = 0; at < kSize; at += 4096) {
        const auto now = std::span(with_).subspan(at, 4096);
        if (!std::ranges::equal(now, std::span(without).subspan(at, 4096))) write_at(at, now);
    }
    follow_until_rest(*hot);
    for (const Extent e : used_with_)
        EXPECT_TRUE(std::ranges::equal(std::span(target_).subspan(e.begin, e.size()), read_at(e)))
            << e.text() << " is not on the target";
}

// Two partitions: a disk as people have it.
class AComparedDiskWithATable : public AComparedDisk {
  protected:
    AComparedDiskWithATable() {
        // The last one ends where the second copy of the table begins.
        must_run({"sgdisk", "-a1", "-n1:2048:+40M", "-n2:0:0", loop_.path()});
        nodes_.emplace(loop_);
        must_run({"mkfs.ext4", "-q", loop_.path() + "p1"});
        mount_.emplace(loop_.path() + "p1", folder_.file("root"));
    }
    std::optional<test::PartitionNodes> nodes_;
    std::optional<test::Mount> mount_;
    const ExtentSet tables_{{0, 34 * 512}, {kSize - 33 * 512, kSize}};
    bool touches_a_table(const ExtentSet& extents) const {
        return std::ranges::any_of(tables_, [&](const Extent e) { return extents.touches(e); });
    }
};

TEST_F(AComparedDiskWithATable, WhatIsWrittenBesideItsTableIsNoNewTable) {
    auto hot = make();
    hot->look_at_rest(nothing);
    give_away(*hot, {{0, kSize}});
    write_at(24 * kKiB, Bytes(512, std::byte{5}));          // a boot loader behind the first copy
    write_at(kSize - 48 * kKiB, Bytes(512, std::byte{5}));  // the end of the last partition
    const ExtentSet named = follow_until_rest(*hot);
    EXPECT_TRUE(named.contains({24 * kKiB, 24 * kKiB + 512}));
    EXPECT_TRUE(named.contains({kSize - 48 * kKiB, kSize - 48 * kKiB + 512}));
    EXPECT_FALSE(touches_a_table(named)) << "the copy would be given up";
}

TEST_F(AComparedDiskWithATable, ANewTableIsNamedThoughNobodyAskedForTheOldOneAgain) {
    auto hot = make();
    hot->look_at_rest([&] {
        Bytes table(34 * 512);
        hot->read(0, table);
        return ExtentSet{};
    });
    must_run({"sgdisk", "-c1:other", loop_.path()});
    EXPECT_TRUE(touches_a_table(follow_until_rest(*hot)));
}

TEST_F(AComparedDiskWithATable, WhatIsMountedLaterIsBroughtToRestToo) {
    must_run({"mkfs.ext4", "-q", loop_.path() + "p2"});
    machine::HotOptions options{60s};
    std::optional<test::Mount> later;
    options.prepare = [&] {
        if (later) return;
        later.emplace(loop_.path() + "p2", folder_.file("later"));
        std::ofstream(folder_.file("later/file")) << "written since";
    };
    auto hot = make(std::move(options));
    hot->look_at_rest(nothing);
    give_away(*hot, in_use());
    follow_until_rest(*hot);
    const std::string second = folder_.file("second.img");
    write_file_atomic(second, std::span(target_).subspan(41 * kMiB, 22 * kMiB), 0600, Code::kInternal);
    EXPECT_EQ(run_program({"debugfs", "-R", "cat file", second}).out, "written since");
    EXPECT_EQ(run_program({"dumpe2fs", "-h", second}).out.find("needs_recovery"), std::string::npos)
        << "it was copied while it was written";
}

}  // namespace
}  // namespace dupengine
