// Used extents of exFAT with files in it, written by exfat-fuse on a loop device; the copy of the used
// extents alone is checked by fsck.exfat, mounted and compared file by file.

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/aged_filesystem.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

struct Make {
    std::vector<std::string> arguments;
    std::uint32_t sector_bytes = 512;
};

// The makes of exFAT through which the seeds go.
const Make kMakes[] = {
    {{}}, {{"-c", "512"}}, {{"-c", "64K"}}, {{"-c", "4K"}, 4096}, {{"--pack-bitmap", "-c", "1K"}},
};

LoopDevice::Options options_of(const Make& make) {
    LoopDevice::Options options;
    options.sector_bytes = make.sector_bytes;
    return options;
}

std::uint64_t dumped(const std::string& device, const std::string& words) {
    const std::string text = must_run({"dump.exfat", device});
    const std::size_t at = text.find(words);
    if (at == std::string::npos) throw_error(Code::kInternal, "dump.exfat says nothing of {}", words);
    return std::stoull(text.substr(text.find_first_of("0123456789", at + words.size())));
}

class AgedExfat : public testing::TestWithParam<std::uint64_t> {
  protected:
    AgedExfat() : make_(kMakes[GetParam() % std::size(kMakes)]) {
        image_ = scratch_.sparse_file("image", 96 * kMiB);
        const LoopDevice loop(image_, options_of(make_));
        std::vector<std::string> argv = {"mkfs.exfat"};
        argv.insert(argv.end(), make_.arguments.begin(), make_.arguments.end());
        argv.push_back(loop.path());
        must_run(argv);
    }
    void expect_same_files(const std::string& one, const std::string& other) {
        const Mount mount_one(one, scratch_.file("one"), "exfat-fuse", "ro");
        const Mount mount_other(other, scratch_.file("other"), "exfat-fuse", "ro");
        const RunResult result = run_program({"diff", "-r", scratch_.file("one"), scratch_.file("other")});
        EXPECT_EQ(result.status, 0) << result.complaint();
        EXPECT_FALSE(std::filesystem::is_empty(scratch_.file("one")));
    }
    ScratchFolder scratch_;
    const Make& make_;
    std::string image_;
};

TEST_P(AgedExfat, ACleanlyUnmountedVolumeIsCopiedWithoutItsFreeClusters) {
    {
        const LoopDevice loop(image_, options_of(make_));
        const Mount mount(loop.path(), scratch_.file("mnt"), "exfat-fuse");
        Churn(scratch_.file("mnt"), GetParam()).run(400);
        for (unsigned i = 0; i < 60; i += 3)  // exfat-fuse fills holes first: leave some
            std::filesystem::remove(fmt::format("{}/{}/{}", scratch_.file("mnt"), i % 4, i));
    }
    const Look look = look_at(image_);
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    EXPECT_GT(look.used.used.count(), 1u);
    const std::string copy = scratch_.file("copy");
    rebuild(image_, look.used, std::byte{0xA5}, copy);
    const LoopDevice loop(image_, options_of(make_)), loop_of_copy(copy, options_of(make_));
    const std::uint64_t clusters =
        dumped(loop.path(), "Total Clusters:") - dumped(loop.path(), "Free Clusters:");
    EXPECT_EQ(look.used.used.total_bytes(),
              dumped(loop.path(), "Cluster Heap Offset (sector offset):") * make_.sector_bytes +
                  clusters * dumped(loop.path(), "Cluster size:"));
    const RunResult check = run_program({"fsck.exfat", "-n", loop_of_copy.path()});
    EXPECT_EQ(check.status, 0) << check.out << check.complaint();
    expect_same_files(loop.path(), loop_of_copy.path());
}

TEST_P(AgedExfat, AMountedVolumeIsCopiedWhole) {
    const LoopDevice loop(image_, options_of(make_));
    const Mount mount(loop.path(), scratch_.file("mnt"), "exfat-fuse");
    Churn(scratch_.file("mnt"), GetParam()).run(20);
    const Look look = look_at(loop.path());
    EXPECT_TRUE(look.used.whole);
    EXPECT_NE(look.used.reason.find("not unmounted cleanly"), std::string::npos) << look.used.reason;
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedExfat, aged_seeds());

}  // namespace
}  // namespace dupengine::test
