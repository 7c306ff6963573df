// Used extents of XFS against the real kernel: filesystems aged on a loop device; the copy of the used
// extents alone is mounted and compared file by file.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

struct Make {
    std::vector<std::string> arguments;
    std::uint32_t sector_bytes = 512;
};

// The makes of XFS through which the seeds go. (This far below 300 MB mkfs.xfs wants to be told twice.)
const Make kMakes[] = {
    {{}},
    {{"-b", "size=1024"}},
    {{"-b", "size=1024", "-d", "agcount=1", "-m", "rmapbt=1"}},
    {{"-s", "size=4096", "-m", "rmapbt=1,inobtcount=1,bigtime=1", "-i", "nrext64=1"}, 4096},
    {{"-m", "reflink=0,finobt=0,bigtime=0,inobtcount=0", "-i", "sparse=0"}},
    {{"-d", "agcount=6"}},
    {{"-b", "size=2048", "-l", "su=32k", "-m", "uuid=01234567-89ab-cdef-0123-456789abcdef"}},
};

std::string make_xfs(const ScratchFolder& scratch, const Make& make) {
    const std::string image = scratch.sparse_file("image", 96 * kMiB);
    std::vector<std::string> argv = {"mkfs.xfs", "-q", "-f", "--unsupported"};
    argv.insert(argv.end(), make.arguments.begin(), make.arguments.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

LoopDevice::Options options_of(const Make& make) {
    LoopDevice::Options options;
    options.sector_bytes = make.sector_bytes;
    return options;
}

std::uint64_t xfs_db_number(const std::string& image, const std::string& where, const std::string& field) {
    const std::string text = must_run({"xfs_db", "-r", "-c", where, "-c", "p " + field, image});
    return std::stoull(text.substr(text.find('=') + 1));
}

void expect_exact(const std::string& image, const layout::UsedExtents& used) {
    std::uint64_t free = 0;
    for (std::uint64_t group = 0; group < xfs_db_number(image, "sb 0", "agcount"); ++group)
        free += xfs_db_number(image, fmt::format("agf {}", group), "freeblks");
    EXPECT_EQ(used.used.total_bytes() / xfs_db_number(image, "sb 0", "blocksize"),
              xfs_db_number(image, "sb 0", "dblocks") - free);
}

void expect_same_files(const ScratchFolder& scratch, const Make& make, const std::string& image,
                       const std::string& copy) {
    const LoopDevice one(image, options_of(make)), other(copy, options_of(make));
    const Mount mount_one(one.path(), scratch.file("one"), "xfs", "nouuid");
    const Mount mount_other(other.path(), scratch.file("other"), "xfs", "nouuid");
    const RunResult result =
        run_program({"diff", "-r", "--no-dereference", scratch.file("one"), scratch.file("other")});
    EXPECT_EQ(result.status, 0) << result.complaint();
    EXPECT_FALSE(std::filesystem::is_empty(scratch.file("one")));
}

void expect_copy_is_complete(const ScratchFolder& scratch, const Make& make, const std::string& image) {
    const Look look = look_at(image);
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    expect_exact(image, look.used);
    const std::string copy = scratch.file("copy");
    rebuild(image, look.used, std::byte{0xA5}, copy);
    const RunResult check = run_program({"xfs_repair", "-n", "-f", "-o", "force_geometry", copy});
    EXPECT_EQ(check.status, 0) << check.out << check.complaint();
    expect_same_files(scratch, make, image, copy);
}

class AgedXfs : public testing::TestWithParam<std::uint64_t> {};

TEST_P(AgedXfs, ACleanlyUnmountedFilesystemIsCopiedWithoutItsFreeBlocks) {
    const ScratchFolder scratch;
    const Make& make = kMakes[GetParam() % std::size(kMakes)];
    const std::string image = make_xfs(scratch, make);
    // Unmounted and mounted again, so that the log goes round more than once on some.
    for (std::uint64_t turn = 0; turn < 1 + GetParam() % 3; ++turn) {
        const LoopDevice loop(image, options_of(make));
        const Mount mount(loop.path(), scratch.file("mnt"), "xfs", "nouuid");
        Churn(scratch.file("mnt"), GetParam() * 10 + turn).run(400);
    }
    expect_copy_is_complete(scratch, make, image);
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedXfs, aged_seeds());

// Every other block of a file given back: trees of free space of two and three levels.
TEST(FragmentedXfs, ThousandsOfFreeRunsAreAllLeftOut) {
    for (const std::uint64_t pieces : {4000u, 30000u}) {
        const ScratchFolder scratch;
        const Make make{{"-b", "size=1024", "-d", "agcount=1"}};
        const std::string image = make_xfs(scratch, make), path = scratch.file("mnt") + "/file";
        {
            const LoopDevice loop(image);
            const Mount mount(loop.path(), scratch.file("mnt"), "xfs");
            const Fd fd = open_path(path, O_RDWR | O_CREAT, Code::kInternal);
            Bytes content(pieces * 2 * kKiB);
            fill_pattern(content, 1);
            pwrite_exact(fd.get(), 0, content, Code::kInternal, path);
            for (std::uint64_t piece = 0; piece < pieces; ++piece)
                if (::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(piece * 2 * kKiB), kKiB) != 0)
                    throw_errno(Code::kInternal, errno, "{}: punch", path);
        }
        EXPECT_EQ(xfs_db_number(image, "agf 0", "bnolevel"), pieces > 10000 ? 3u : 2u);
        EXPECT_GT(look_at(image).used.used.count(), pieces - 10);
        expect_copy_is_complete(scratch, make, image);
    }
}

// The number of the turn in which the log's first block was written.
std::uint32_t log_cycle(const std::string& image) {
    const std::uint64_t start = xfs_db_number(image, "sb 0", "logstart");
    const std::uint64_t shift = xfs_db_number(image, "sb 0", "agblklog");
    const std::uint64_t block = (start >> shift) * xfs_db_number(image, "sb 0", "agblocks") +
                                (start & ((std::uint64_t{1} << shift) - 1));
    const ByteOffset at = block * xfs_db_number(image, "sb 0", "blocksize");
    const Bytes bytes = block::read_extent(*block::open_source(image), {at, at + 8});
    return load_be<std::uint32_t>(bytes, load_be<std::uint32_t>(bytes, 0) == 0xFEEDBABE ? 4 : 0);
}

TEST(BusyXfs, ALogThatHasGoneRoundIsReadRightAtEveryPlaceOfItsHead) {
    const ScratchFolder scratch;
    const Make make{{"-m", "reflink=0,finobt=0"}};
    const std::string image = make_xfs(scratch, make);
    unsigned turns = 0;
    for (; turns < 60 && log_cycle(image) < 3; ++turns) {
        {
            const LoopDevice loop(image);
            const Mount mount(loop.path(), scratch.file("mnt"), "xfs");
            for (unsigned i = 0; i < 150; ++i) {
                const std::string path = fmt::format("{}/{}", scratch.file("mnt"), i);
                const Fd fd = open_path(path, O_RDWR | O_CREAT, Code::kInternal);
                pwrite_exact(fd.get(), turns * 10, as_bytes("some bytes"), Code::kInternal, path);
                if (::fsync(fd.get()) != 0) throw_errno(Code::kInternal, errno, "{}: fsync", path);
                if (i % 3 == 0) std::filesystem::remove(path);
            }
        }
        const Look look = look_at(image);
        ASSERT_FALSE(look.used.whole) << "turn " << turns << ": " << look.used.reason;
        expect_exact(image, look.used);
    }
    EXPECT_GE(log_cycle(image), 3u) << "after " << turns << " turns";
    expect_copy_is_complete(scratch, make, image);
}

// Blocks that two files share are used once.
TEST(ReflinkedXfs, SharedBlocksAreCopied) {
    const ScratchFolder scratch;
    const Make make{{"-m", "reflink=1"}};
    const std::string image = make_xfs(scratch, make);
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt"), "xfs");
        const std::string folder = scratch.file("mnt");
        Bytes content(3 * kMiB);
        fill_pattern(content, 5);
        write_file_atomic(folder + "/one", content, 0644, Code::kInternal);
        must_run({"cp", "--reflink=always", folder + "/one", folder + "/other"});
        must_run({"rm", folder + "/one"});
    }
    expect_copy_is_complete(scratch, make, image);
}

TEST(GrownXfs, GroupsThatCameLaterCount) {
    const ScratchFolder scratch;
    const Make make{{}};
    const std::string image = make_xfs(scratch, make);
    must_run({"truncate", "-s", "140M", image});
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt"), "xfs");
        must_run({"xfs_growfs", scratch.file("mnt")});
        Churn(scratch.file("mnt"), 3).run(300);
    }
    EXPECT_GT(xfs_db_number(image, "sb 0", "agcount"), 4u);
    expect_copy_is_complete(scratch, make, image);
}

class CutXfs : public testing::TestWithParam<std::uint64_t> {};

TEST_P(CutXfs, AFilesystemWithADirtyLogIsCopiedWhole) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, kMakes[GetParam() % std::size(kMakes)]);
    const Make& make = kMakes[GetParam() % std::size(kMakes)];
    {
        const LoopDevice loop(image, options_of(make));
        const Mount mount(loop.path(), scratch.file("mnt"), "xfs", "nouuid");
        Churn(scratch.file("mnt"), GetParam()).run(150);
        must_run({"cp", "--sparse=always", image, scratch.file("cut")});
    }
    const Look cut = look_at(scratch.file("cut"));
    EXPECT_TRUE(cut.used.whole);
    EXPECT_NE(cut.used.reason.find("its log is dirty"), std::string::npos) << cut.used.reason;

    // Once the kernel has recovered it, it is like any other.
    {
        const LoopDevice loop(scratch.file("cut"), options_of(make));
        const Mount mount(loop.path(), scratch.file("mnt"), "xfs");
    }
    expect_copy_is_complete(scratch, make, scratch.file("cut"));
}

INSTANTIATE_TEST_SUITE_P(Seed, CutXfs, testing::Range<std::uint64_t>(1, 8));

// Freezing leaves the log dirty on purpose, so that files deleted while open are dealt with after a crash.
TEST(FrozenXfs, AFrozenFilesystemIsCopiedWhole) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, kMakes[0]);
    const LoopDevice loop(image);
    const Mount mount(loop.path(), scratch.file("mnt"), "xfs");
    Churn(scratch.file("mnt"), 1).run(100);
    must_run({"fsfreeze", "--freeze", scratch.file("mnt")});
    const Look look = look_at(loop.path());
    must_run({"fsfreeze", "--unfreeze", scratch.file("mnt")});
    EXPECT_TRUE(look.used.whole);
    EXPECT_NE(look.used.reason.find("its log is dirty"), std::string::npos) << look.used.reason;
}

}  // namespace
}  // namespace dupengine::test
