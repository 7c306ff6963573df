// Partition tables on real block devices of both sector sizes, held against sgdisk, sfdisk and the kernel.

#include <gmock/gmock.h>

#include <sstream>

#include "block/open.h"
#include "tests/unit/layout/made_disks.h"

namespace dupengine::test {
namespace {

using layout::PartitionTable;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kDisk = 64 * kMiB;

struct Disk {
    ScratchFolder scratch;
    std::string file;
    LoopDevice loop;
    explicit Disk(std::uint32_t sector_bytes, std::uint64_t size = kDisk)
        : file(scratch.sparse_file("disk", size)), loop(file, options(sector_bytes)) {}
    static LoopDevice::Options options(std::uint32_t sector_bytes) {
        LoopDevice::Options result;
        result.sector_bytes = sector_bytes;
        return result;
    }
    const std::string& path() const { return loop.path(); }
    PartitionTable table() const { return layout::read_partition_table(*block::open_source(path())); }

    /// Wipes what the table occupies and writes it anew, through the guard.
    void rewrite(const PartitionTable& table) const {
        const auto target = block::open_target(path(), {});
        const std::uint64_t size = target->geometry().size_bytes;
        for (block::Extent extent : layout::table_extents(table, size))
            target->zero(extent, block::Device::Zeroing::kAllocate);
        const layout::TableImage image = layout::encode_table(table, size);
        for (const auto* pieces : {&image.primary, &image.backup})
            for (const auto& piece : *pieces)
                target->write(piece.offset, piece.content);
        target->flush();
    }
};

// "p1" after a loop device whose name ends in a digit.
std::vector<std::string> said_by_sfdisk(const Disk& disk, const PartitionTable& table) {
    std::vector<std::string> lines = partitions_by_sfdisk(disk.path());
    for (std::string& line : lines)
        line.erase(0, 1);
    std::erase_if(lines, [&](const std::string& line) {
        return table.mbr_extended &&
               line.find(fmt::format(" {}+", table.mbr_extended->begin / table.sector_bytes)) != line.npos;
    });
    return lines;
}

class OnALoopDevice : public testing::TestWithParam<std::uint32_t> {};

TEST_P(OnALoopDevice, ATableBySgdiskComesBackByteForByteAndWhole) {
    const Disk disk(GetParam());
    must_run({"sgdisk", "-n1:0:+10M", "-t1:ef00", "-c1:EFI", "-n2:0:+20M", "-n5:0:0", disk.path()});
    const std::string before = file_sha256(disk.path());
    const PartitionTable table = disk.table();
    EXPECT_EQ(table.sector_bytes, GetParam());
    EXPECT_EQ(partitions_of(table), said_by_sfdisk(disk, table));
    EXPECT_THAT(table.problems, IsEmpty());
    disk.rewrite(table);
    EXPECT_EQ(file_sha256(disk.path()), before);
    EXPECT_THAT(must_run({"sgdisk", "-v", disk.path()}), HasSubstr("No problems found"));
}

TEST_P(OnALoopDevice, ATableBySfdiskComesBackByteForByte) {
    for (const std::string script :
         {"label: gpt\nsize=10MiB,type=uefi\nsize=20MiB,name=\"root fs\"\n,,swap\n",
          "label: dos\n1: size=1MiB,bootable\n4: type=f\n5: size=10MiB\n6: size=20MiB,type=82\n7: "
          "size=1MiB\n"}) {
        const Disk disk(GetParam());
        must_run({"sfdisk", "--quiet", "--no-reread", disk.path()}, fed_with(script));
        const std::string before = file_sha256(disk.path());
        const PartitionTable table = disk.table();
        EXPECT_EQ(partitions_of(table), said_by_sfdisk(disk, table));
        disk.rewrite(table);
        EXPECT_EQ(file_sha256(disk.path()), before) << script;
    }
}

TEST_P(OnALoopDevice, ATableMovesToALargerDiskThatSgdiskFindsWhole) {
    const Disk small(GetParam()), large(GetParam(), kDisk + 13 * kMiB + 4096);
    must_run({"sgdisk", "-n1:0:+10M", "-n2:0:0", small.path()});
    const PartitionTable table = small.table();
    large.rewrite(table);
    EXPECT_THAT(must_run({"sgdisk", "-v", large.path()}), HasSubstr("No problems found"));
    EXPECT_EQ(large.table().partitions, table.partitions);
    EXPECT_EQ(said_by_sfdisk(large, table), said_by_sfdisk(small, table));
}

INSTANTIATE_TEST_SUITE_P(SectorBytes, OnALoopDevice, testing::Values(512u, 4096u),
                         [](const auto& test) { return std::to_string(test.param); });

// The numbers of logical partitions are the kernel's; libblkid (partx) follows it.
TEST(MbrOnALoopDevice, LogicalPartitionsHaveTheNumbersThatTheKernelGivesThem) {
    const Disk disk(512);
    must_run(
        {"sfdisk", "--quiet", "--no-reread", disk.path()},
        fed_with(
            "label: dos\n1: size=1MiB\n2: type=5\n5: size=1MiB\n6: size=2MiB\n7: size=3MiB\n8: size=4MiB\n"));
    must_run({"sfdisk", "--quiet", "--no-reread", "--delete", disk.path(), "6"});
    PartitionTable table = disk.table();
    std::erase_if(table.partitions, [](const layout::Partition& p) { return p.number == 5; });
    disk.rewrite(table);
    std::string ours;
    for (const layout::Partition& p : disk.table().partitions)
        ours += fmt::format("{} {} {}\n", p.number, p.extent.begin / 512, p.extent.size() / 512);
    std::string theirs;
    std::istringstream words(
        must_run({"partx", "--show", "--noheadings", "--output", "NR,START,SECTORS", disk.path()}));
    for (std::uint64_t number, start, sectors; words >> number >> start >> sectors;)
        if (number != 2) theirs += fmt::format("{} {} {}\n", number, start, sectors);  // not the container
    EXPECT_EQ(ours, theirs);
}

}  // namespace
}  // namespace dupengine::test
