#include "profiles/stores/kernel_partition.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

class KernelPartitionTest : public ::testing::Test {
  protected:
    void add(const std::string& name, const std::string& start, const std::string& size,
             const std::string& dev) {
        const std::string folder = scratch_.file("dev/block/8:0/" + name);
        std::filesystem::create_directories(folder);
        const auto attribute = [&](const std::string& leaf, const std::string& text) {
            write_file_atomic(folder + "/" + leaf, as_bytes(text + "\n"), 0644, Code::kInternal);
        };
        attribute("partition", "1");
        attribute("start", start);
        attribute("size", size);
        attribute("dev", dev);
    }
    std::string find(block::Extent extent) {
        const auto found = find_kernel_partition(makedev(8, 0), extent, {scratch_.path(), "/dev"});
        return found ? fmt::format("{} {}:{}", found->node, major(found->device_number),
                                   minor(found->device_number))
                     : "none";
    }
    test::ScratchFolder scratch_;
};

TEST_F(KernelPartitionTest, IsTheOneAtExactlyTheSamePlace) {
    add("sda1", "2048", "2048", "8:1");
    add("sda128", "4096", "8192", "259:5");
    EXPECT_EQ(find({2 * kMiB, 6 * kMiB}), "/dev/sda128 259:5");
    EXPECT_EQ(find({kMiB, 2 * kMiB}), "/dev/sda1 8:1");
}

TEST_F(KernelPartitionTest, IsNoneWhereTheKernelReadsTheTableDifferently) {
    add("sda128", "4096", "8192", "259:5");
    EXPECT_EQ(find({2 * kMiB, 5 * kMiB}), "none");
    EXPECT_EQ(find({3 * kMiB, 7 * kMiB}), "none");
    EXPECT_EQ(find({2 * kMiB + 1, 6 * kMiB + 1}), "none");
}

TEST_F(KernelPartitionTest, ReadsNothingIntoAttributesThatMakeNoSense) {
    add("sda1", "", "8192", "8:1");
    add("sda2", "4096", "a lot", "8:2");
    add("sda3", "4096", "8192", "eight");
    std::filesystem::create_directories(scratch_.file("dev/block/8:0/queue"));
    EXPECT_EQ(find({2 * kMiB, 6 * kMiB}), "none");
    std::filesystem::remove_all(scratch_.file("dev"));
    EXPECT_EQ(find({2 * kMiB, 6 * kMiB}), "none");
}

TEST_F(KernelPartitionTest, FindsNodesInFolders) {
    add("cciss!c0d0p1", "2048", "2048", "104:1");
    EXPECT_EQ(find({kMiB, 2 * kMiB}), "/dev/cciss/c0d0p1 104:1");
}

}  // namespace
}  // namespace dupengine::profiles
