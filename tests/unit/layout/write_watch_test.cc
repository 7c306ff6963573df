// What the kernel's counters show of writes to a source, on machines that are made up of files.

#include "layout/write_watch.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::layout {
namespace {

namespace fs = std::filesystem;

// A disk 240:0 with partitions 240:1 and 240:2. Majors from 240 up are no devices of the real machine.
class WriteWatch : public ::testing::Test {
  protected:
    WriteWatch() {
        device("disk", 0);
        for (unsigned i : {1u, 2u}) {
            device("disk/disk" + std::to_string(i), i);
            put("devices/disk/disk" + std::to_string(i) + "/partition", std::to_string(i));
        }
        put("devices/disk/queue/iostats", "1");
        put("devices/disk/diskseq", "7");
    }

    void put(const std::string& path, const std::string& text) const {
        const fs::path file = fs::path(scratch_.file("sys")) / path;
        fs::create_directories(file.parent_path());
        std::ofstream(file) << text << '\n';
    }
    void device(const std::string& name, unsigned number) const {
        put("devices/" + name + "/dev", fmt::format("240:{}", number));
        const fs::path at = fs::path(scratch_.file("sys")) / "dev/block" / fmt::format("240:{}", number);
        fs::create_directories(at.parent_path());
        fs::create_symlink(fs::path(scratch_.file("sys")) / "devices" / name, at);
        count(name, 8, 100, 0);
    }
    void count(const std::string& name, unsigned read, unsigned written, unsigned discarded) const {
        put("devices/" + name + "/stat",
            fmt::format("5 0 {} 1 6 0 {} 2 0 3 4 7 0 {} 0 9 0", read, written, discarded));
    }
    WritesSeen of(unsigned number) const {
        return writes_until_now(block::PathIdentity{true, makedev(240, number), 0},
                                {scratch_.file("proc"), scratch_.file("sys"), scratch_.file("dev")});
    }
    test::ScratchFolder scratch_;
};

TEST_F(WriteWatch, ReadingASourceIsNoWriteAndOneSectorWrittenOrDiscardedIs) {
    const WritesSeen before = of(0);
    EXPECT_TRUE(before.all);
    count("disk", 4000, 100, 0);
    EXPECT_EQ(of(0).text, before.text) << "our own reads end the copy";
    count("disk", 4000, 101, 0);
    EXPECT_NE(of(0).text, before.text);
    count("disk", 4000, 100, 1);
    EXPECT_NE(of(0).text, before.text);
}

TEST_F(WriteWatch, WhatIsWrittenToANeighbourIsNoChangeOfThePartitionThatIsCopied) {
    const WritesSeen before = of(1);
    EXPECT_TRUE(before.all);
    count("disk", 8, 900, 0);
    count("disk/disk2", 8, 900, 0);
    EXPECT_EQ(of(1).text, before.text);
    count("disk/disk1", 8, 101, 0);
    EXPECT_NE(of(1).text, before.text);
}

TEST_F(WriteWatch, AnotherMediumInTheSamePlaceIsNotTheSource) {
    const std::string before = of(0).text;
    put("devices/disk/diskseq", "8");
    EXPECT_NE(of(0).text, before);
}

TEST_F(WriteWatch, WhereNothingIsCountedNothingIsPromised) {
    count("disk", 0, 0, 0);
    EXPECT_FALSE(of(0).all);
    count("disk", 8, 0, 0);
    EXPECT_TRUE(of(0).all);
    put("devices/disk/queue/iostats", "0");
    EXPECT_FALSE(of(0).all);
    EXPECT_FALSE(of(1).all) << "a partition is counted by its disk's setting";
    EXPECT_FALSE(of(9).all) << "a device that is not there";
}

TEST_F(WriteWatch, AMappedDeviceIsWatchedButCanBeWrittenBelow) {
    put("devices/disk/dm/uuid", "LVM-x");
    const WritesSeen before = of(0);
    EXPECT_FALSE(before.all);
    count("disk", 8, 101, 0);
    EXPECT_NE(of(0).text, before.text);
}

}  // namespace
}  // namespace dupengine::layout
