// What the kernel counts of a disk's writes, on made-up folders of /sys.

#include "machine/write_counts.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/units.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

class WriteCounts : public testing::Test {
  protected:
    WriteCounts() {
        std::filesystem::create_directories(disk_ + "/queue");
        std::filesystem::create_directories(disk_ + "/sda2");
        write("/queue/iostats", "1");
        write("/sda2/partition", "2");
        write("/sda2/start", "2048");
        write("/sda2/size", "2048");
        count("", 10, 0);
        count("/sda2", 4, 0);
    }
    void write(const std::string& file, const std::string& text) const {
        std::ofstream(disk_ + file) << text << "\n";
    }
    // Documentation/block/stat.rst; the reads change all the time.
    void count(const std::string& of, std::uint64_t writes, std::uint64_t under_way,
               std::uint64_t discards = 0) {
        write(of + "/stat", fmt::format("{} 0 80 3 {} 0 {} 9 0 7 8 {} 0 {} 0 5 1", ++reads_, writes,
                                        writes * 8, discards, discards * 8));
        write(of + "/inflight", fmt::format("3 {}", under_way));
    }
    test::ScratchFolder folder_;
    const std::string disk_ = folder_.file("sda");
    std::uint64_t reads_ = 0;
};

TEST_F(WriteCounts, ReadsAreNoWrites) {
    machine::WriteCounts counts("/dev/sda", disk_);
    counts.begin({});
    count("", 10, 0);
    EXPECT_FALSE(counts.has_moved());
}

TEST_F(WriteCounts, AWriteThatIsDoneOrUnderWayOrADiscardIsSeen) {
    machine::WriteCounts counts("/dev/sda", disk_);
    counts.begin({});
    count("", 11, 0);
    EXPECT_TRUE(counts.has_moved());
    count("", 10, 1);
    EXPECT_TRUE(counts.has_moved()) << "it may have changed what was read already";
    count("", 10, 0, 1);
    EXPECT_TRUE(counts.has_moved());
}

TEST_F(WriteCounts, WhatGoesToSwapIsCountedOutAndNothingElse) {
    machine::WriteCounts counts("/dev/sda", disk_);
    counts.begin({{kMiB + 4096, 2 * kMiB}});
    count("/sda2", 7, 1);
    count("", 13, 1);
    EXPECT_FALSE(counts.has_moved());
    count("", 14, 1);
    EXPECT_TRUE(counts.has_moved()) << "one of four writes was elsewhere";
    count("", 13, 2);
    EXPECT_TRUE(counts.has_moved());
    counts.begin({});
    count("/sda2", 8, 0);
    count("", 14, 0);
    EXPECT_TRUE(counts.has_moved()) << "it is no swap any more";
}

TEST_F(WriteCounts, WhereTheKernelDoesNotCountNothingWouldShow) {
    write("/queue/iostats", "0");
    EXPECT_THROW(machine::WriteCounts("/dev/sda", disk_), Error);
}

}  // namespace
}  // namespace dupengine
