#include "layout/describe.h"

#include <gmock/gmock.h>

#include "tests/unit/layout/made_disks.h"

namespace dupengine::test {
namespace {

using layout::Depth;
using layout::DiskDescription;
using testing::HasSubstr;
using testing::SizeIs;

constexpr std::uint64_t kDisk = 64 * kMiB;

/// A disk with a FAT partition, one of zeros and a profile partition that holds the bytes of a FAT
/// filesystem.
std::shared_ptr<DiskBytes> example_disk() {
    DiskImage disk(kDisk), part(8 * kMiB);
    disk.sfdisk(fmt::format("label: gpt\nsize=8MiB,type=uefi\nsize=8MiB\nsize=8MiB,type={}\n",
                            layout::type_guid::kProfile.text()));
    must_run({"mkfs.fat", "-n", "LABEL", part.path()});
    auto bytes = disk.bytes();
    const Bytes fat = part.bytes()->content;
    for (const std::uint64_t at : {1 * kMiB, 17 * kMiB})
        std::copy(fat.begin(), fat.end(), bytes->content.begin() + static_cast<std::ptrdiff_t>(at));
    return bytes;
}

TEST(DescribeDisk, SaysWhatEachPartitionHoldsAndHowMuchOfItIsUsed) {
    const DiskDescription disk = describe_disk(MemoryDevice(example_disk()), Depth::kUsedExtents);
    ASSERT_THAT(disk.partitions, SizeIs(3));
    ASSERT_TRUE(disk.by_number(1)->signature);
    EXPECT_EQ(disk.by_number(1)->signature->type, "vfat");
    EXPECT_EQ(disk.by_number(1)->signature->label, "LABEL");
    EXPECT_FALSE(disk.by_number(1)->used.whole) << disk.by_number(1)->used.reason;
    EXPECT_LT(disk.by_number(1)->used.used.total_bytes(), kMiB);
    EXPECT_FALSE(disk.by_number(2)->signature);
    EXPECT_TRUE(disk.by_number(2)->used.whole);
    EXPECT_EQ(disk.by_number(4), nullptr);
    EXPECT_FALSE(disk.incomplete);
    EXPECT_EQ(disk.damaged_table, "");
}

TEST(DescribeDisk, NeverTakesAProfileForAFilesystem) {
    const DiskDescription disk = describe_disk(MemoryDevice(example_disk()), Depth::kUsedExtents);
    EXPECT_FALSE(disk.by_number(3)->signature);
    EXPECT_TRUE(disk.by_number(3)->used.whole);
    EXPECT_EQ(disk.by_number(3)->used.reason, "dupengine profile");
    EXPECT_EQ(disk.by_number(3)->used.used.total_bytes(), 8 * kMiB);
}

// An image that is damaged throws kIntegrity, as do those who read structures that are odd.
TEST(DescribeDisk, OfASourceThatIsItselfDamagedThereIsNoDescription) {
    const auto bytes = example_disk();
    const std::vector<Call> reads = [&] {
        const MemoryDevice disk(bytes);
        describe_disk(disk, Depth::kUsedExtents);
        return disk.calls();
    }();
    ASSERT_GT(reads.size(), 10u);
    for (const Depth depth : {Depth::kUsedExtents, Depth::kSalvage})
        for (std::size_t damaged = 0; damaged < reads.size(); ++damaged) {
            MemoryDevice disk(bytes);
            disk.set_interceptor([&](std::size_t, const Call& call) {
                if (call.extent.touches(reads[damaged].extent))
                    throw_error(Code::kIntegrity, "the chunk is damaged");
            });
            try {
                describe_disk(disk, depth);
                ADD_FAILURE() << "a description without " << reads[damaged].extent.text();
            } catch (const Error& e) {
                EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
                EXPECT_STREQ(e.what(), "the chunk is damaged");
            }
        }
}

TEST(DescribeDisk, OfADamagedTableIsADescriptionAndNoGuess) {
    auto bytes = example_disk();
    for (const std::uint64_t header : {std::uint64_t{512}, kDisk - 512})
        bytes->content[header] = std::byte{0};
    const DiskDescription disk = describe_disk(MemoryDevice(bytes), Depth::kUsedExtents);
    EXPECT_THAT(disk.damaged_table, HasSubstr("no copy of its GPT can be used"));
    EXPECT_THAT(disk.partitions, SizeIs(0));
    EXPECT_FALSE(disk.signature);
    EXPECT_TRUE(disk.used.whole);
    EXPECT_EQ(disk.used.used.total_bytes(), kDisk);
}

TEST(DescribeDisk, WithoutATableIsWhatTheWholeDiskHolds) {
    DiskImage disk(8 * kMiB);
    must_run({"mkfs.fat", disk.path()});
    const DiskDescription description = describe_disk(MemoryDevice(disk.bytes()), Depth::kUsedExtents);
    EXPECT_EQ(description.table.kind, layout::TableKind::kNone);
    ASSERT_TRUE(description.signature);
    EXPECT_EQ(description.signature->type, "vfat");
    EXPECT_FALSE(description.used.whole) << description.used.reason;
}

TEST(DescribeDisk, FindsTheMarkOfACopyThatWasCut) {
    const MemoryDevice device(kDisk);
    layout::IncompleteMark mark;
    mark.source = "golden";
    mark.size_bytes = kDisk;
    const Bytes room = encode_mark(mark, 512);
    std::copy(room.begin(), room.end(), device.bytes()->content.begin() + 512);
    const DiskDescription disk = describe_disk(device, Depth::kTable);
    ASSERT_TRUE(disk.incomplete);
    EXPECT_EQ(disk.incomplete->source, "golden");
    EXPECT_TRUE(disk.used.used.empty()) << "used extents were not asked for";
}

TEST(DescribeDisk, DoesNotTakeAnUnreadableDiskForADamagedOne) {
    MemoryDevice device(example_disk());
    device.set_interceptor([](std::size_t, const Call&) { throw_error(Code::kSourceIo, "bad sector"); });
    EXPECT_THROW(
        try { describe_disk(device, Depth::kTable); } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kSourceIo);
            throw;
        },
        Error);
}

}  // namespace
}  // namespace dupengine::test
