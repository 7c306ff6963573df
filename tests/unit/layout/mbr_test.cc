#include <gmock/gmock.h>

#include "base/random.h"
#include "tests/unit/layout/made_disks.h"

namespace dupengine::test {
namespace {

using layout::Partition;
using layout::PartitionTable;
using layout::TableKind;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kDisk = 16 * kMiB;

std::string logicals(unsigned count, unsigned sectors_each) {
    std::string script = "label: dos\nstart=2048,size=128\nstart=4096,type=f\n";
    for (unsigned i = 0; i < count; ++i)
        script += fmt::format("{}: start={},size={}\n", 5 + i, 4097 + i * (sectors_each + 1), sectors_each);
    return script;
}

// sfdisk numbers what it is given in order, so five and up are logical.
const std::string kLogicalDisk =
    "label: dos\nlabel-id: 0x12345678\n1: size=1MiB,bootable\n2: size=1MiB,type=7\n4: type=5\n"
    "5: size=1MiB\n6: size=2MiB,type=82\n7: size=1MiB,type=c\n";

const Recipe kRecipes[] = {
    {"one_partition", [](DiskImage& d) { d.sfdisk("label: dos\n,\n"); }},
    {"four_primaries",
     [](DiskImage& d) { d.sfdisk("label: dos\nsize=1MiB\nsize=2MiB,type=c\nsize=1MiB\n,,82\n"); }},
    {"active", [](DiskImage& d) { d.sfdisk("label: dos\nsize=1MiB\nsize=1MiB,bootable\n"); }},
    {"holes_in_numbers", [](DiskImage& d) { d.sfdisk("label: dos\n2: size=1MiB\n4: size=1MiB\n"); }},
    {"not_in_disk_order",
     [](DiskImage& d) { d.sfdisk("label: dos\nstart=4MiB,size=1MiB\nstart=1MiB,size=1MiB\n"); }},
    {"empty_extended", [](DiskImage& d) { d.sfdisk("label: dos\nsize=1MiB\ntype=5\n"); }},
    {"logicals", [](DiskImage& d) { d.sfdisk(kLogicalDisk); }},
    {"logicals_in_lba_extended", [](DiskImage& d) { d.sfdisk(logicals(3, 2048)); }},
    {"logicals_in_linux_extended",
     [](DiskImage& d) { d.sfdisk("label: dos\nsize=1MiB\ntype=85\n5: size=1MiB\n6: size=1MiB\n"); }},
    {"56_logicals", [](DiskImage& d) { d.sfdisk(logicals(56, 32)); }},
    {"first_logical_deleted",
     [](DiskImage& d) {
         d.sfdisk(kLogicalDisk), must_run({"sfdisk", "--quiet", "--delete", d.path(), "5"});
     }},
    {"middle_logical_deleted",
     [](DiskImage& d) {
         d.sfdisk(kLogicalDisk), must_run({"sfdisk", "--quiet", "--delete", d.path(), "6"});
     }},
    {"by_sgdisk",
     [](DiskImage& d) {
         d.sgdisk({"-n1:0:+3M", "-n2:0:+2M"}).sgdisk({"-m1:2"});
     }},
};

class MadeMbr : public testing::TestWithParam<Recipe> {};

TEST_P(MadeMbr, IsReadAsMeantAndGivenBackByteForByte) {
    DiskImage disk(kDisk);
    GetParam().make(disk);
    const Bytes before = disk.bytes()->content;
    const PartitionTable table = disk.table();
    EXPECT_EQ(table.kind, TableKind::kMbr);
    EXPECT_THAT(table.problems, IsEmpty());
    std::vector<std::string> by_sfdisk = partitions_by_sfdisk(disk.path());
    std::erase_if(by_sfdisk, [&](const std::string& line) {  // it lists the container too
        return table.mbr_extended &&
               line.find(fmt::format(" {}+", table.mbr_extended->begin / 512)) != line.npos;
    });
    EXPECT_EQ(partitions_of(table), by_sfdisk);
    EXPECT_THAT(differences(rewritten(before, table), before), IsEmpty());
    // The same bytes on a larger disk: an MBR does not say how large its disk is.
    const auto larger = layout::encode_table(table, kDisk + kMiB);
    EXPECT_THAT(larger.backup, IsEmpty());
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + 512, larger.primary[0].content.begin()));
}

INSTANTIATE_TEST_SUITE_P(Recipes, MadeMbr, testing::ValuesIn(kRecipes),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Mbr, SaysWhatSfdiskWasTold) {
    DiskImage disk(kDisk);
    disk.sfdisk(kLogicalDisk);
    const PartitionTable table = disk.table();
    EXPECT_EQ(table.mbr_signature, 0x12345678u);
    EXPECT_EQ(table.mbr_extended_type, 5);
    ASSERT_THAT(table.partitions, SizeIs(5));
    EXPECT_TRUE(table.by_number(1)->mbr_active);
    EXPECT_EQ(table.by_number(2)->mbr_type, 7);
    EXPECT_EQ(table.by_number(4), nullptr);
    EXPECT_TRUE(table.by_number(6)->mbr_logical);
    EXPECT_EQ(table.by_number(6)->extent.size(), 2 * kMiB);
    EXPECT_THAT(table.mbr_chain, SizeIs(3));
    EXPECT_EQ(layout::table_extents(table, kDisk).total_bytes(), 4 * 512u);
}

TEST(Mbr, TakesSectorsOf4096Bytes) {
    DiskImage disk(64 * kMiB);
    disk.fdisk_4096("o\nn\np\n1\n\n+1M\nn\ne\n2\n\n\nn\n\n+1M\nn\n\n+1M\nw\n");
    const PartitionTable table = disk.table(4096);
    ASSERT_THAT(table.partitions, SizeIs(3));
    EXPECT_EQ(table.partitions[0].extent, (block::Extent{kMiB, 2 * kMiB}));
    EXPECT_EQ(table.partitions[2].number, 6u);
    EXPECT_EQ(table.partitions[2].extent.size(), kMiB);
    const Bytes before = disk.bytes()->content;
    EXPECT_THAT(differences(rewritten(before, table), before), IsEmpty());
}

// Every change must be understood by sfdisk as we read it back ourselves.
void expect_agreement(const DiskImage& disk, const PartitionTable& wanted) {
    disk.write(rewritten(disk.bytes()->content, wanted));
    const PartitionTable read = disk.table();
    std::vector<std::string> by_sfdisk = partitions_by_sfdisk(disk.path());
    std::erase_if(by_sfdisk, [&](const std::string& line) {
        return line.find(fmt::format(" {}+", read.mbr_extended->begin / 512)) != line.npos;
    });
    EXPECT_EQ(partitions_of(read), by_sfdisk);
    EXPECT_EQ(read.mbr_extended, wanted.mbr_extended);
    std::vector<block::Extent> extents, wanted_extents;
    for (const Partition& p : read.partitions)
        extents.push_back(p.extent);
    for (const Partition& p : wanted.partitions)
        wanted_extents.push_back(p.extent);
    EXPECT_EQ(extents, wanted_extents);
}

TEST(Mbr, RemovedPartitionsAreGoneForSfdisk) {
    for (const unsigned number : {1u, 2u, 5u, 6u, 7u}) {
        DiskImage disk(kDisk);
        disk.sfdisk(kLogicalDisk);
        PartitionTable table = disk.table();
        std::erase_if(table.partitions, [&](const Partition& p) { return p.number == number; });
        SCOPED_TRACE(fmt::format("without {}", number));
        expect_agreement(disk, table);
    }
}

TEST(Mbr, AllLogicalPartitionsCanGo) {
    DiskImage disk(kDisk);
    disk.sfdisk(kLogicalDisk);
    PartitionTable table = disk.table();
    std::erase_if(table.partitions, [](const Partition& p) { return p.mbr_logical; });
    expect_agreement(disk, table);
    table = disk.table();
    table.mbr_extended.reset();
    disk.write(rewritten(disk.bytes()->content, table));
    EXPECT_THAT(partitions_by_sfdisk(disk.path()), SizeIs(2));
}

Partition added(unsigned number, std::uint64_t begin, std::uint64_t size, bool logical) {
    Partition p;
    p.number = number;
    p.extent = {begin, begin + size};
    p.mbr_type = 0x83;
    p.mbr_logical = logical;
    return p;
}

TEST(Mbr, AddedPartitionsAreThereForSfdisk) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: dos\n1: size=1MiB\n4: start=6MiB,type=f\n5: size=1MiB\n");
    PartitionTable table = disk.table();
    table.partitions.insert(table.partitions.begin() + 1, added(3, 3 * kMiB, 2 * kMiB, false));
    table.partitions.push_back(added(6, 10 * kMiB, kMiB, true));             // a MiB in front of it is free
    table.partitions.push_back(added(7, 11 * kMiB + 63 * 512, 4096, true));  // a track
    table.partitions.push_back(added(8, 12 * kMiB, kMiB, true));
    table.partitions.push_back(added(9, 13 * kMiB + 512, kMiB, true));  // one sector
    expect_agreement(disk, table);
}

TEST(Mbr, ThatCannotSayWhatIsWantedIsRefused) {
    DiskImage disk(kDisk);
    disk.sfdisk(kLogicalDisk);
    const PartitionTable table = disk.table();
    const auto refusal = [&](auto change, std::uint64_t size = kDisk) -> std::string {
        PartitionTable changed = table;
        change(changed);
        try {
            layout::encode_table(changed, size);
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused);
            return e.what();
        }
        return "accepted";
    };
    const block::Extent last = table.by_number(7)->extent;
    EXPECT_THAT(refusal([](PartitionTable&) {}, 3 * kMiB), HasSubstr("outside the disk"));
    EXPECT_THAT(refusal([&](PartitionTable& t) { t.partitions.push_back(added(8, last.end, 512, true)); }),
                HasSubstr("no free sector in front"));
    EXPECT_THAT(refusal([](PartitionTable& t) { t.partitions[0].number = 9; }),
                HasSubstr("a primary partition"));
    EXPECT_THAT(refusal([](PartitionTable& t) { t.partitions[4].number = 3; }),
                HasSubstr("a logical partition"));
    EXPECT_THAT(refusal([&](PartitionTable& t) {
                    t.partitions[0].extent = {last.end, last.end + 512};
                }),
                HasSubstr("overlaps the extended"));
    EXPECT_THAT(refusal([](PartitionTable& t) {
                    t.partitions[4].extent = {kMiB / 2, kMiB};
                }),
                HasSubstr("outside the extended"));
    EXPECT_THAT(refusal([](PartitionTable& t) {
                    t.partitions[0].extent = {0, kMiB};
                }),
                HasSubstr("outside the disk"));
    EXPECT_THAT(refusal([](PartitionTable& t) {
                    t.partitions.insert(t.partitions.begin() + 2, added(3, kMiB / 2, 512, false));
                    t.partitions.insert(t.partitions.begin() + 3, added(4, kMiB / 4, 512, false));
                }),
                HasSubstr("four primary partitions"));
    const std::uint64_t four_tib = 4096 * kGiB;
    EXPECT_THAT(refusal(
                    [&](PartitionTable& t) {
                        t.partitions[1].extent = {four_tib, four_tib + 512};
                    },
                    2 * four_tib),
                HasSubstr("a GPT is needed"));
}

}  // namespace
}  // namespace dupengine::test
