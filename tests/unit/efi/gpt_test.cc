// Firmware sees the partitions that the other code wrote, and no others.

#include "efi/core/gpt.h"

#include <gmock/gmock.h>

#include "tests/support/efi_disk.h"
#include "tests/support/gpt_disk.h"

namespace dupengine {
namespace {

using test::EfiDisk;

constexpr std::uint64_t kDiskBytes = 8 * kMiB;

class EfiGpt : public ::testing::TestWithParam<std::uint32_t> {
  protected:
    EfiGpt() {
        table_ = test::make_gpt(kDiskBytes,
                                {{1, {kMiB, 2 * kMiB}, "EFI system", layout::type_guid::kEfiSystem},
                                 {3, {2 * kMiB, 3 * kMiB}, "root"},
                                 {128, {4 * kMiB, 6 * kMiB}, "profile", layout::type_guid::kProfile}},
                                7, GetParam());
        test::DiskBytes bytes(kDiskBytes);
        test::put_table(bytes, table_);
        disk_.content() = bytes.content;
    }
    std::string read() {
        const efi::TextView reason = efi::read_gpt(disk_, scratch_, seen_);
        return {reason.data(), reason.size()};
    }
    void damage(std::uint64_t at) { disk_.content()[at] ^= std::byte{1}; }
    void expect_the_same() {
        ASSERT_EQ(seen_.count, table_.partitions.size());
        for (std::size_t i = 0; i < seen_.count; ++i) {
            const efi::Partition& seen = seen_.partitions[i];
            const layout::Partition& written = table_.partitions[i];
            EXPECT_EQ(seen.number, written.number);
            EXPECT_EQ((block::Extent{seen.begin, seen.end}), written.extent);
            EXPECT_TRUE(efi::equal(std::as_bytes(std::span(seen.guid.bytes)), written.guid.bytes));
            EXPECT_TRUE(efi::equal(std::as_bytes(std::span(seen.type.bytes)), written.type_guid.bytes));
        }
    }

    layout::PartitionTable table_;
    EfiDisk disk_{{}, GetParam()};
    std::vector<std::byte> scratch_ = std::vector<std::byte>(efi::kTableScratchBytes);
    efi::PartitionTable seen_;
};
INSTANTIATE_TEST_SUITE_P(Sectors, EfiGpt, ::testing::Values(512, 4096));

TEST_P(EfiGpt, IsTheTableThatWasWritten) {
    EXPECT_EQ(read(), "");
    expect_the_same();
    ASSERT_NE(seen_.by_type(efi::kProfileType), nullptr);
    EXPECT_EQ(seen_.by_type(efi::kProfileType)->number, 128u);
    EXPECT_EQ(seen_.by_type(efi::kEfiSystemType)->number, 1u);
}

TEST_P(EfiGpt, ComesFromTheBackupWhereThePrimaryIsDamaged) {
    damage(GetParam() + 40);  // the header
    EXPECT_EQ(read(), "");
    expect_the_same();
}

TEST_P(EfiGpt, ComesFromTheBackupWhereTheEntriesAreDamaged) {
    damage(2 * GetParam() + 32);
    EXPECT_EQ(read(), "");
    expect_the_same();
}

TEST_P(EfiGpt, ComesFromTheBackupWhereThePrimaryCannotBeRead) {
    disk_.make_unreadable(GetParam(), 2 * GetParam());
    EXPECT_EQ(read(), "");
    expect_the_same();
}

TEST_P(EfiGpt, IsNoneWhereBothAreDamagedAndSaysWhy) {
    damage(GetParam() + 40);
    damage(kDiskBytes - GetParam() + 40);
    EXPECT_EQ(read(), "the header of its GUID partition table is damaged");
    EXPECT_EQ(seen_.count, 0u);
}

TEST_P(EfiGpt, IsNotBelievedFromABackupThatNothingAnnounces) {
    std::fill_n(disk_.content().begin(), kMiB, std::byte{0});
    EXPECT_EQ(read(), "there is no GUID partition table");
}

TEST_P(EfiGpt, IsNotBelievedBehindAnMbrThatDoesNotAnnounceIt) {
    disk_.content()[446 + 4] = std::byte{0x83};
    EXPECT_EQ(read(), "it has no GUID partition table, but an MBR");
}

TEST_P(EfiGpt, IsNoneOnABlankOrTinyDisk) {
    disk_.content().assign(kDiskBytes, std::byte{0});
    EXPECT_EQ(read(), "there is no GUID partition table");
    disk_.content().assign(GetParam(), std::byte{0});
    EXPECT_EQ(read(), "it is too small for a partition table");
    disk_.content().clear();
    EXPECT_EQ(read(), "it is too small for a partition table");
}

}  // namespace
}  // namespace dupengine
