#include <gmock/gmock.h>

#include "layout/partition_table.h"
#include "tests/unit/layout/made_disks.h"

namespace dupengine::test {
namespace {

using layout::PartitionTable;
using layout::TableKind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kDisk = 16 * kMiB, kSector = 512;

std::string sfdisk_many(unsigned count) {
    std::string script = "label: gpt\ngrain: 512\n";
    for (unsigned i = 0; i < count; ++i)
        script += fmt::format("size=64KiB, name=\"number {}\"\n", i + 1);
    return script;
}

// Every way of laying out a GPT that sgdisk and sfdisk offer.
const Recipe kRecipes[] = {
    {"sgdisk",
     [](DiskImage& d) {
         d.sgdisk({"-n1:0:+3M", "-t1:ef00", "-c1:EFI system", "-n2:0:0", "-c2:root"});
     }},
    {"sgdisk_gap_in_numbers",
     [](DiskImage& d) {
         d.sgdisk({"-n7:0:+1M", "-n128:0:+1M", "-n3:0:+1M"});
     }},
    {"sgdisk_attributes",
     [](DiskImage& d) {
         d.sgdisk({"-n1:0:+1M", "-A1:set:2", "-A1:set:63"});
     }},
    {"sgdisk_56_entries",
     [](DiskImage& d) {
         d.sgdisk({"-S", "56", "-n1:0:+1M", "-n2:0:0"});
     }},
    {"sgdisk_entries_moved",
     [](DiskImage& d) {
         d.sgdisk({"-n1:0:+1M", "-j", "100"});
     }},
    {"sgdisk_from_the_first_usable_sector",
     [](DiskImage& d) {
         d.sgdisk({"-a1", "-n1:34:40", "-n2:41:32734"});
     }},
    {"sgdisk_hybrid",
     [](DiskImage& d) {
         d.sgdisk({"-n1:0:+3M", "-n2:0:+2M", "-h1:2"});
     }},
    {"sgdisk_hybrid_ee_last",
     [](DiskImage& d) {
         d.sgdisk({"-n1:0:+3M", "-n2:0:+2M", "-h1:2:EE"});
     }},
    {"sfdisk", [](DiskImage& d) { d.sfdisk("label: gpt\nsize=3MiB,type=uefi,name=\"x\"\n,\n"); }},
    {"sfdisk_empty", [](DiskImage& d) { d.sfdisk("label: gpt\n"); }},
    {"sfdisk_four_entries",
     [](DiskImage& d) { d.sfdisk("label: gpt\ntable-length: 4\nfirst-lba: 40\n,\n"); }},
    {"sfdisk_six_entries", [](DiskImage& d) { d.sfdisk("label: gpt\ntable-length: 6\nsize=1MiB\n"); }},
    {"sfdisk_space_set_aside", [](DiskImage& d) { d.sfdisk("label: gpt\nlast-lba: 20000\nsize=1MiB\n"); }},
    {"sfdisk_128_partitions", [](DiskImage& d) { d.sfdisk(sfdisk_many(128)); }},
    {"sfdisk_attributes",
     [](DiskImage& d) { d.sfdisk("label: gpt\nsize=1MiB,attrs=\"RequiredPartition GUID:60\"\n"); }},
    {"sfdisk_names",
     [](DiskImage& d) {
         d.sfdisk("label: gpt\nsize=1MiB,name=\"Größe 中文 😀\"\nsize=1MiB,name=\"a'b c\"\n");
     }},
};

class MadeGpt : public testing::TestWithParam<Recipe> {};

void expect_read_as_sfdisk_reads_it(const DiskImage& disk, const PartitionTable& table) {
    EXPECT_EQ(table.kind, TableKind::kGpt);
    EXPECT_EQ(partitions_of(table), partitions_by_sfdisk(disk.path()));
    EXPECT_TRUE(table.primary_valid && table.backup_valid);
    EXPECT_THAT(table.problems, IsEmpty());
    const auto json = nlohmann::json::parse(must_run({"sfdisk", "--json", disk.path()}));
    EXPECT_EQ(table.disk_guid.text(), lower(json["partitiontable"]["id"]));
}

void expect_the_same_from_either_copy(const Bytes& whole, const PartitionTable& table) {
    for (const bool primary : {true, false}) {
        Bytes damaged = whole;
        damaged[primary ? 512 : kDisk - 512] = std::byte{0};
        const Outcome outcome = try_read(damaged);
        ASSERT_EQ(outcome.error, "");
        EXPECT_EQ(outcome.table.partitions, table.partitions);
        EXPECT_EQ(outcome.table.primary_valid, !primary);
        EXPECT_EQ(outcome.table.backup_valid, primary);
        EXPECT_EQ(outcome.table.problems.size(), 1u);
    }
}

void expect_whole_for_sgdisk_on_a_larger_disk(const DiskImage& disk, const PartitionTable& table) {
    const auto partitions = partitions_by_sfdisk(disk.path());
    Bytes larger(kDisk + 7 * kMiB + 3 * kSector);
    put(layout::encode_table(table, larger.size()), larger);
    disk.write(larger);
    EXPECT_THAT(disk.said_by_sgdisk_verify(), HasSubstr("No problems found"));
    EXPECT_EQ(partitions_by_sfdisk(disk.path()), partitions);
    const PartitionTable moved = disk.table();
    EXPECT_EQ(moved.partitions, table.partitions);
    EXPECT_EQ(moved.last_usable_lba, table.last_usable_lba + 7 * kMiB / kSector + 3);
    EXPECT_THAT(moved.problems, IsEmpty());
}

// One test a recipe: sgdisk syncs and sleeps each time it writes.
TEST_P(MadeGpt, IsReadAsMeantAndGivenBackByteForByte) {
    DiskImage disk(kDisk);
    GetParam().make(disk);
    const Bytes before = disk.bytes()->content;
    const PartitionTable table = disk.table();
    expect_read_as_sfdisk_reads_it(disk, table);
    EXPECT_THAT(differences(rewritten(before, table), before), IsEmpty());
    expect_the_same_from_either_copy(before, table);
    expect_whole_for_sgdisk_on_a_larger_disk(disk, table);
}

INSTANTIATE_TEST_SUITE_P(Recipes, MadeGpt, testing::ValuesIn(kRecipes),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Gpt, OfADiskWith4096ByteSectorsIsFoundInAFile) {
    DiskImage disk(kDisk);
    disk.fdisk_4096("g\nn\n\n\n+3M\nn\n\n\n\nw\n");
    const PartitionTable table = disk.table();  // the file itself says 512
    EXPECT_EQ(table.kind, TableKind::kGpt);
    EXPECT_EQ(table.sector_bytes, 4096u);
    EXPECT_EQ(table.sector0.size(), 4096u);
    ASSERT_EQ(table.partitions.size(), 2u);
    EXPECT_EQ(table.partitions[0].extent, (block::Extent{kMiB, 4 * kMiB}));
    EXPECT_EQ(partitions_of(table), partitions_of(disk.table(4096)));
    const Bytes before = disk.bytes()->content;
    EXPECT_THAT(differences(rewritten(before, table), before), IsEmpty());
}

TEST(Gpt, RemovedAndAddedPartitionsAreSeenBySfdisk) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\nsize=3MiB,name=gone\nsize=3MiB\n");
    PartitionTable table = disk.table();
    table.partitions.erase(table.partitions.begin() + 1);
    layout::Partition profile;
    profile.number = 9;
    profile.extent = {14 * kMiB, 15 * kMiB};
    profile.type_guid = layout::type_guid::kProfile;
    profile.guid = Guid::parse("11111111-2222-4333-8444-555555555555");
    profile.name = "dupengine profile";
    table.partitions.push_back(profile);
    disk.write(rewritten(disk.bytes()->content, table));
    EXPECT_THAT(disk.said_by_sgdisk_verify(), HasSubstr("No problems found"));
    EXPECT_EQ(partitions_by_sfdisk(disk.path()), partitions_of(table));
    EXPECT_EQ(disk.table().by_type(layout::type_guid::kProfile)->number, 9u);
    EXPECT_EQ(disk.table().by_number(2), nullptr);
    EXPECT_EQ(disk.table().by_guid(profile.guid)->name, "dupengine profile");
}

TEST(Gpt, ImageOfASmallerDiskOnALargerOneIsReadAndSaidToBeSo) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\n");
    Bytes larger = disk.bytes()->content;
    larger.resize(kDisk + 5 * kMiB);
    Outcome outcome = try_read(larger);
    EXPECT_EQ(outcome.table.partitions, disk.table().partitions);
    EXPECT_TRUE(outcome.table.backup_valid);
    EXPECT_THAT(outcome.table.problems, ElementsAre(HasSubstr("made for a smaller disk")));
    put(layout::encode_table(outcome.table, larger.size()), larger);
    disk.write(larger);
    EXPECT_THAT(disk.said_by_sgdisk_verify(), HasSubstr("No problems found"));
    // Even when only that backup is left.
    larger = disk.bytes()->content;
    larger.resize(larger.size() + kMiB);
    larger[512] = std::byte{0};
    outcome = try_read(larger);
    EXPECT_EQ(outcome.table.partitions, disk.table().partitions) << outcome.error;
    EXPECT_FALSE(outcome.table.primary_valid);
}

TEST(Gpt, OfWhichBothCopiesAreBadIsOneLineAndNotAnEmptyDisk) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\n");
    Bytes damaged = disk.bytes()->content;
    damaged[512 + 60] ^= std::byte{1};
    damaged[kDisk - 512 + 60] ^= std::byte{1};
    EXPECT_EQ(try_read(damaged).error,
              "memory: no copy of its GPT can be used: primary: the header's checksum is wrong; backup: the "
              "header's "
              "checksum is wrong");
    std::fill_n(damaged.begin() + 512, 512, std::byte{0});
    std::fill_n(damaged.end() - 512, 512, std::byte{0});
    EXPECT_EQ(try_read(damaged).error,
              "memory: no copy of its GPT can be used: primary: there is no GPT header; backup: there is no "
              "GPT header");
}

TEST(Gpt, BehindAnErasedFirstSectorIsStillFound) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\n");
    Bytes damaged = disk.bytes()->content;
    std::fill_n(damaged.begin(), 512, std::byte{0});
    const PartitionTable table = try_read(damaged).table;
    EXPECT_EQ(table.partitions, disk.table().partitions);
    EXPECT_THAT(table.problems, ElementsAre(HasSubstr("protective MBR is missing")));
    const auto image = layout::encode_table(table, kDisk);
    EXPECT_EQ(image.primary[0].content[450], std::byte{0xEE});
    // A backup alone is what is left when the disk was given another use.
    std::fill_n(damaged.begin(), 1024, std::byte{0});
    EXPECT_EQ(try_read(damaged).table.kind, TableKind::kNone);
}

TEST(Gpt, ThatTheMbrDoesNotAnnounceIsNotUsed) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\n");
    Bytes bytes = disk.bytes()->content;
    DiskImage other(kDisk);
    other.sfdisk("label: dos\nsize=2MiB\n");
    const Bytes mbr = other.bytes()->content;
    std::copy_n(mbr.begin(), 512, bytes.begin());
    const PartitionTable table = try_read(bytes).table;
    EXPECT_EQ(table.kind, TableKind::kMbr);
    EXPECT_THAT(table.problems, ElementsAre(HasSubstr("old GPT")));
}

TEST(Gpt, HybridEntryThatIsNoPartitionIsTold) {
    DiskImage disk(kDisk);
    disk.sgdisk({"-n1:0:+3M", "-n2:0:+2M", "-h1:2"});
    Bytes bytes = disk.bytes()->content;
    const std::size_t sectors_of_entry_2 = 446 + 16 + 12;
    store_le<std::uint32_t>(bytes, sectors_of_entry_2, load_le<std::uint32_t>(bytes, sectors_of_entry_2) + 1);
    EXPECT_THAT(try_read(bytes).table.problems, ElementsAre(HasSubstr("hybrid MBR")));
}

TEST(Gpt, KeepsBootCodeAndItsDiskSignature) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\n");
    Bytes bytes = disk.bytes()->content;
    fill_pattern(std::span(bytes).first(446), 1);
    const PartitionTable table = try_read(bytes).table;
    EXPECT_THAT(differences(rewritten(bytes, table), bytes), IsEmpty());
    PartitionTable changed = table;
    changed.mbr_signature = 0x01020304;
    Bytes larger(kDisk + kMiB);
    put(layout::encode_table(changed, larger.size()), larger);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + 440, larger.begin()));
    EXPECT_EQ(load_le<std::uint32_t>(larger, 440), 0x01020304u);
    EXPECT_EQ(load_le<std::uint32_t>(larger, 446 + 12), larger.size() / 512 - 1);
}

TEST(Gpt, IsReadFromItsBackupWhenThePrimaryCannotBeReadAtAll) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\n");
    MemoryDevice device(disk.bytes());
    std::uint64_t broken_from = 512, broken_to = 1024;
    device.set_interceptor([&](std::size_t, const Call& call) {
        if (call.extent.touches({broken_from, broken_to}))
            throw_error(Code::kSourceIo, "sector {} is bad", broken_from);
    });
    const PartitionTable table = layout::read_partition_table(device);
    EXPECT_EQ(table.partitions, disk.table().partitions);
    EXPECT_FALSE(table.primary_valid);
    broken_to = kDisk;
    try {
        layout::read_partition_table(device);
        FAIL() << "a disk that cannot be read has no table";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kSourceIo);
    }
}

TEST(Gpt, ThatDoesNotFitTheTargetIsRefused) {
    DiskImage disk(kDisk);
    disk.sfdisk("label: gpt\nsize=3MiB\n,\n");
    const PartitionTable table = disk.table();
    const auto refusal = [&](const PartitionTable& t, std::uint64_t size) -> std::string {
        try {
            layout::encode_table(t, size);
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused);
            return e.what();
        }
        return "accepted";
    };
    EXPECT_THAT(refusal(table, kDisk - kMiB), HasSubstr("partition 2 ends with sector 30719"));
    EXPECT_EQ(refusal(table, kDisk + 511), "accepted");  // not a whole sector more
    EXPECT_THAT(refusal(table, 4096), HasSubstr("no room"));
    PartitionTable changed = table;
    changed.partitions[1].extent.begin = changed.partitions[0].extent.end - 512;
    EXPECT_EQ(refusal(changed, kDisk), "partitions 1 and 2 overlap");
    changed = table;
    changed.partitions[1].number = 1;
    EXPECT_THAT(refusal(changed, kDisk), HasSubstr("the number 1"));
    changed.partitions[1].number = 129;
    EXPECT_THAT(refusal(changed, kDisk), HasSubstr("room for 128 entries"));
    changed = table;
    changed.partitions[0].extent.end -= 1;
    EXPECT_THAT(refusal(changed, kDisk), HasSubstr("whole 512 byte sectors"));
    changed = table;
    changed.partitions[0].name = std::string(37, 'x');
    EXPECT_THAT(refusal(changed, kDisk), HasSubstr("longer than the 36"));
    changed.partitions[0].name = "\xC3";
    EXPECT_EQ(refusal(changed, kDisk), "partition 1: the name is not valid UTF-8");
}

}  // namespace
}  // namespace dupengine::test
