// Used extents of filesystems that only a kernel with all its modules can mount: aged by the kernel's own
// driver, then a copy of the used extents alone is checked by fsck, mounted and compared file by file. Runs
// on the lab machine (tests/machine/lab.sh).

#include <gtest/gtest.h>

#include "tests/support/aged_filesystem.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

void expect_copy_is_complete(const ScratchFolder& scratch, const std::string& image, const std::string& type,
                             const std::vector<std::string>& check) {
    const Look look = look_at(image);
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_LT(look.used.used.total_bytes(), look.used.filesystem_bytes * 9 / 10);
    const std::string copy = scratch.file("copy");
    rebuild(image, look.used, std::byte{0xA5}, copy);
    std::vector<std::string> argv = check;
    argv.push_back(copy);
    const RunResult checked = run_program(argv);
    EXPECT_EQ(checked.status, 0) << checked.out << checked.complaint();
    expect_same_mounted(scratch, image, copy, type, "ro");
}

class Aged : public testing::TestWithParam<std::uint64_t> {
  protected:
    // Several mounts, so that checkpoints and allocation positions move.
    void age(const std::string& image, const std::string& type) {
        for (std::uint64_t round = 0; round < 3; ++round) {
            const LoopDevice loop(image);
            const Mount mount(loop.path(), scratch_.file("mnt"), type);
            Churn(scratch_.file("mnt"), GetParam() * 3 + round).run(60);
        }
    }
    ScratchFolder scratch_;
};

class AgedF2fs : public Aged {};

TEST_P(AgedF2fs, AFilesystemIsCopiedWithoutItsFreeBlocks) {
    const std::string image = scratch_.sparse_file("image", 96 * kMiB);
    must_run({"mkfs.f2fs", "-q", image});
    age(image, "f2fs");
    expect_copy_is_complete(scratch_, image, "f2fs", {"fsck.f2fs", "--dry-run"});
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedF2fs, aged_seeds());

class AgedFat : public Aged {};

TEST_P(AgedFat, AFilesystemIsCopiedWithoutItsFreeClusters) {
    static const std::vector<std::vector<std::string>> kMakes = {
        {"-F", "32", "-s", "1"}, {"-F", "16"}, {"-F", "32", "-s", "2"}, {"-F", "16", "-s", "16"}};
    const std::string image = scratch_.sparse_file("image", 96 * kMiB);
    std::vector<std::string> argv = {"mkfs.fat"};
    const auto& make = kMakes[GetParam() % kMakes.size()];
    argv.insert(argv.end(), make.begin(), make.end());
    argv.push_back(image);
    must_run(argv);
    age(image, "vfat");
    expect_copy_is_complete(scratch_, image, "vfat", {"fsck.fat", "-n"});
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedFat, aged_seeds());

}  // namespace
}  // namespace dupengine::test
