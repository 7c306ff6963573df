// ext filesystems with impossible or hostile numbers: used extents or the whole part, never a crash, a hang
// or a huge allocation; and what cannot be trusted is copied whole, with a reason.

#include <gtest/gtest.h>

#include <chrono>

#include "base/random.h"
#include "layout/extent_collector.h"
#include "tests/support/ext_editor.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"
#include "tests/support/sparse_reader.h"

namespace dupengine::test {
namespace {

constexpr std::uint64_t kSize = 8 * kMiB;

// Fields of the superblock and of a group descriptor.
constexpr std::size_t kBlocks = 0x04, kFreeBlocks = 0x0C, kFirstBlock = 0x14, kLogBlock = 0x18,
                      kPerGroup = 0x20, kInodesPerGroup = 0x28, kState = 0x3A, kRevision = 0x4C,
                      kInodeBytes = 0x58, kCompat = 0x5C, kIncompat = 0x60, kReadOnly = 0x64,
                      kJournalInode = 0xE0, kDescriptorBytes = 0xFE, kMmpBlock = 0x168;
constexpr std::size_t kSuperFreeInodes = 0x10;
constexpr std::size_t kBitmap = 0x00, kInodeBitmap = 0x04, kTable = 0x08, kFreeInGroup = 0x0C,
                      kFreeInodes = 0x0E, kUsedFolders = 0x10, kFlags = 0x12, kUnusedInodes = 0x1C;

class DamagedExt : public testing::Test {
  protected:
    void make(const std::vector<std::string>& arguments = {"-t", "ext4", "-b", "1024", "-g", "2048"}) {
        const ScratchFolder scratch;
        good_ = load_file(make_ext(scratch, "image", kSize, arguments, ""));
        renew();
    }
    void renew() {
        disk_ = std::make_unique<MemoryDevice>(std::make_shared<DiskBytes>(*good_));
        edit_ = std::make_unique<ExtEditor>(disk_->bytes()->content);
    }
    layout::UsedExtents look() { return used_as(*disk_, "ext4"); }
    void expect_whole(const std::string& reason) {
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole) << reason;
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
        renew();
    }
    std::shared_ptr<DiskBytes> good_;
    std::unique_ptr<MemoryDevice> disk_;
    std::unique_ptr<ExtEditor> edit_;
};

TEST_F(DamagedExt, ImpossibleSuperblocksAreCopiedWhole) {
    make();
    ASSERT_FALSE(look().whole) << look().reason;
    const auto with = [&](std::size_t field, auto value, const std::string& reason) {
        edit_->set_super(field, value);
        expect_whole(reason);
    };
    using u16 = std::uint16_t;
    with(0x38, u16{0x1234}, "no superblock");
    with(kRevision, 2u, "revision 2");
    with(kLogBlock, 7u, "the log of the block size is 7");
    with(kFirstBlock, 0u, "the first data block");
    with(kBlocks, 0u, "0 blocks");
    with(kBlocks, 8193u, "covers 8389632 bytes, the partition has 8388608");
    with(0x150, 0xFFFFFFFFu, "number too large");
    with(kPerGroup, 0u, "the count of clusters per group is 0");
    with(kPerGroup, 8200u, "the count of clusters per group is 8200");
    with(kPerGroup, 2047u, "contradict");
    with(kInodesPerGroup, 0u, "inodes per group is 0");
    with(kInodesPerGroup, 0xFFFFFFFFu, "inodes per group is 4294967295");
    with(kInodeBytes, u16{0}, "the size of an inode is 0");
    with(kInodeBytes, u16{2048}, "the size of an inode is 2048");
    with(kDescriptorBytes, u16{0}, "the size of a group descriptor is 0");
    with(kDescriptorBytes, u16{2048}, "the size of a group descriptor is 2048");
    with(0x1C, 5u, "cannot be opened");   // a cluster size without bigalloc
    with(0x00, 17u, "cannot be opened");  // an inode count that is not that of the groups
}

TEST_F(DamagedExt, FeaturesThatNobodyHereKnowsAreCopiedWhole) {
    make();
    const auto with = [&](std::size_t field, std::uint32_t bit, const std::string& reason) {
        edit_->set_super(field, edit_->super<std::uint32_t>(field) | bit);
        expect_whole(reason);
    };
    with(kIncompat, 0x80000, "unknown incompatible feature 0x80000");
    with(kIncompat, 0x20, "unknown incompatible feature 0x20");
    with(kReadOnly, 0x80000000, "unknown read-only-compatible feature 0x80000000");
    with(kReadOnly, 0x4, "unknown read-only-compatible feature 0x4");
    with(kIncompat, 0x1, "feature compression");
    with(kIncompat, 0x8, "feature journal_dev: all of it is another filesystem's journal");
    with(kIncompat, 0x1000, "feature dirdata");
    with(kReadOnly, 0x80, "feature snapshot");
    with(kReadOnly, 0x800, "feature replica");
    with(kCompat, 0x40, "feature lazy_bg");
    with(kCompat, 0x100, "feature exclude_bitmap");
    // Anybody may read and write a filesystem with an unknown compatible feature.
    edit_->set_super(kCompat, edit_->super<std::uint32_t>(kCompat) | 0x80000000u);
    EXPECT_FALSE(look().whole) << look().reason;
}

TEST_F(DamagedExt, AStateInWhichTheBitmapsMayLieIsCopiedWhole) {
    make();
    edit_->set_super<std::uint16_t>(kState, 0);
    expect_whole("not unmounted cleanly");
    edit_->set_super<std::uint16_t>(kState, 3);
    expect_whole("marked as having errors");
    edit_->set_super(kFreeBlocks, edit_->super<std::uint32_t>(kFreeBlocks) - 1);
    expect_whole("the superblock counts");
    edit_->set_descriptor<std::uint16_t>(0, kFreeInGroup, 7);
    expect_whole("group 0: its bitmap has");
}

TEST_F(DamagedExt, ChecksumsThatDoNotHoldAreCopiedWhole) {
    make();
    store_le<std::uint32_t>(disk_->bytes()->content, 1024 + kFreeBlocks, 5);
    expect_whole("uperblock checksum");
    store_le<std::uint16_t>(disk_->bytes()->content, 2048 + 64 + kFreeInGroup, 5);
    expect_whole("group 1: its descriptor does not match its checksum");
    edit_->block(edit_->bitmap_block(0))[200] ^= std::byte{1};
    expect_whole("group 0: its bitmap does not match its checksum");
}

// What the kernel leaves out because of a hint, e2fsck finds again. On a copy without it nobody would.
TEST_F(DamagedExt, HintsThatHideInodesInUseAreNotBelieved) {
    make();
    const auto flags = edit_->descriptor<std::uint16_t>(0, kFlags);
    const auto free = edit_->descriptor<std::uint16_t>(0, kFreeInodes);
    ASSERT_EQ(flags & 3, 0) << "group 0 holds the root folder";
    edit_->set_descriptor<std::uint16_t>(0, kUnusedInodes, static_cast<std::uint16_t>(free + 1));
    expect_whole("group 0: inodes are in use where its descriptor says there are none");
    edit_->set_descriptor<std::uint16_t>(0, kUnusedInodes, 0xFFFF);
    expect_whole("of its");
    edit_->set_descriptor<std::uint16_t>(0, kFlags, flags | 1);  // INODE_UNINIT
    expect_whole("group 0: its descriptor says both that inodes are used and that none are");
    edit_->set_descriptor<std::uint16_t>(0, kFreeInodes, static_cast<std::uint16_t>(free + 1));
    expect_whole("group 0: its bitmap has");
    edit_->block(edit_->descriptor<std::uint32_t>(0, kInodeBitmap))[2] ^= std::byte{1};
    expect_whole("group 0: its inode bitmap does not match its checksum");
    edit_->set_super(kSuperFreeInodes, edit_->super<std::uint32_t>(kSuperFreeInodes) - 1);
    expect_whole("the superblock counts");
    // All of it said consistently, but for the superblock's own count.
    edit_->set_descriptor<std::uint16_t>(0, kFlags, flags | 1);
    edit_->set_descriptor<std::uint16_t>(0, kUsedFolders, 0);
    edit_->set_descriptor<std::uint16_t>(
        0, kFreeInodes, static_cast<std::uint16_t>(edit_->super<std::uint32_t>(kInodesPerGroup)));
    expect_whole("the superblock counts");
}

TEST_F(DamagedExt, AHintThatHidesABlockBitmapIsNotBelieved) {
    make();
    edit_->set_descriptor<std::uint16_t>(0, kFlags, edit_->descriptor<std::uint16_t>(0, kFlags) | 2);
    expect_whole("group 0: its bitmap was never written, so");
    std::uint32_t unwritten = 0;  // a group that mke2fs has left so
    while (unwritten < 4 && (edit_->descriptor<std::uint16_t>(unwritten, kFlags) & 2) == 0)
        ++unwritten;
    ASSERT_LT(unwritten, 4u);
    const auto free = edit_->descriptor<std::uint16_t>(unwritten, kFreeInGroup);
    edit_->set_descriptor<std::uint16_t>(unwritten, kFreeInGroup, static_cast<std::uint16_t>(free - 100));
    edit_->set_super(kFreeBlocks, edit_->super<std::uint32_t>(kFreeBlocks) - 100);
    expect_whole(fmt::format("group {}: its bitmap was never written, so", unwritten));
}

TEST_F(DamagedExt, WithoutChecksumsACountGivesADamagedBitmapAway) {
    make({"-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^metadata_csum,^64bit"});
    const auto bitmap = load_le<std::uint32_t>(disk_->bytes()->content, 2048);
    disk_->bytes()->content[bitmap * 1024 + 200] ^= std::byte{1};
    expect_whole("group 0: its bitmap has");
}

TEST_F(DamagedExt, DescriptorsThatPointOutsideAreCopiedWhole) {
    make();
    for (std::uint32_t value : {0u, 1u, 8192u, 0xFFFFFFFFu}) {
        edit_->set_descriptor(1, kBitmap, value);
        expect_whole("group 1: its bitmap would be block");
    }
    for (std::uint32_t value : {0u, 1u, 8192u, 0xFFFFFFFFu}) {
        edit_->set_descriptor(0, kInodeBitmap, value);
        expect_whole("group 0: its inode bitmap would be");
    }
    for (std::uint32_t value : {8190u, 0xFFFFFFFFu}) {
        edit_->set_descriptor(1, kTable, value);
        expect_whole("group 1: its inode table would be");
    }
    edit_->set_super<std::uint32_t>(kIncompat, edit_->super<std::uint32_t>(kIncompat) | 0x100);
    edit_->set_super<std::uint64_t>(kMmpBlock, ~std::uint64_t{0});
    expect_whole("multi-mount protection block");
}

TEST_F(DamagedExt, AMetadataBlockThatTheBitmapForgotIsCopiedAllTheSame) {
    make({"-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^metadata_csum,^uninit_bg,^64bit"});
    auto& content = disk_->bytes()->content;
    const auto bitmap = load_le<std::uint32_t>(content, 2048),
               table = load_le<std::uint32_t>(content, 2048 + 8);
    content[bitmap * 1024 + (table - 1) / 8] &= ~(std::byte{1} << ((table - 1) % 8));
    store_le<std::uint16_t>(content, 2048 + 12,
                            static_cast<std::uint16_t>(load_le<std::uint16_t>(content, 2048 + 12) + 1));
    store_le<std::uint32_t>(content, 1024 + 12, load_le<std::uint32_t>(content, 1024 + 12) + 1);
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole) << used.reason;
    EXPECT_TRUE(used.used.contains({table * 1024, (table + 1) * 1024}));
}

TEST_F(DamagedExt, AJournalOnAnotherDeviceIsNoted) {
    make();
    edit_->set_super(kJournalInode, 0u);
    EXPECT_EQ(look().note, "its journal is on another device, which is not copied with it");
    edit_->set_super(kIncompat, edit_->super<std::uint32_t>(kIncompat) | 4u);
    expect_whole("its journal was not played and is on another device");
}

TEST_F(DamagedExt, BytesBehindItsEndAreCopiedToo) {
    make();
    auto larger = std::make_shared<DiskBytes>(kSize + 3 * kMiB + 512);
    std::copy(good_->content.begin(), good_->content.end(), larger->content.begin());
    const layout::UsedExtents used = used_as(MemoryDevice(larger), "ext4");
    ASSERT_FALSE(used.whole);
    block::ExtentSet wanted = look().used;
    wanted.insert({kSize, larger->content.size()});
    EXPECT_EQ(used.used, wanted);
    EXPECT_EQ(used.filesystem_bytes, kSize);
}

// One past the limit on a disk that is large enough for the claim: refused before anything is allocated.
TEST_F(DamagedExt, AMillionGroupsAreNotReadIntoMemory) {
    make();
    edit_->set_super(kPerGroup, 256u);
    edit_->set_super(0x24, 256u);
    edit_->set_super(kBlocks, 0xFFFFFFF0u);
    SparseReader disk(std::uint64_t{1} << 43);
    disk.put(1024, std::span(disk_->bytes()->content).subspan(1024, 1024));
    const layout::UsedExtents used = used_as(disk, "ext4");
    EXPECT_TRUE(used.whole);
    EXPECT_NE(used.reason.find("more descriptors than the 32 MiB"), std::string::npos) << used.reason;
}

TEST_F(DamagedExt, AReadErrorAtAnyPointIsAnErrorAndNotAReasonToCopyWhole) {
    make();
    look();
    const std::size_t reads = disk_->calls().size();
    ASSERT_GT(reads, 4u);
    for (std::size_t failing = 0; failing < reads; ++failing) {
        renew();
        disk_->set_interceptor([=](std::size_t number, const Call&) {
            if (number == failing) throw_error(Code::kSourceIo, "EIO at read {}", failing);
        });
        try {
            look();
            ADD_FAILURE() << "read " << failing << " failed unnoticed";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kSourceIo);
            EXPECT_STREQ(e.what(), fmt::format("EIO at read {}", failing).c_str());
        }
    }
}

class FlippedExt : public testing::TestWithParam<std::uint64_t> {};

// Random fields get random or telling values; checksums are put right, so that the numbers themselves are
// believed.
TEST_P(FlippedExt, IsReadOrCopiedWholeWithinBounds) {
    SeededRandom random(GetParam());
    const ScratchFolder scratch;
    const std::vector<std::vector<std::string>> makes = {
        {"-t", "ext4", "-b", "1024", "-g", "2048"},
        {"-t", "ext4", "-b", "1024", "-g", "2048", "-O", "meta_bg,^resize_inode"},
        {"-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "4096"},
        {"-t", "ext4", "-b", "4096", "-O", "sparse_super2,mmp"},
    };
    const auto good = load_file(make_ext(scratch, "image", kSize, makes[GetParam() % makes.size()], ""));
    const std::uint32_t telling[] = {0,      1,      2,       7,          8,          0x7F, 0xFF,
                                     0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, ~0u};
    unsigned read = 0;
    for (unsigned round = 0; round < 300; ++round) {
        auto bytes = std::make_shared<DiskBytes>(*good);
        ExtEditor edit(bytes->content);
        for (std::uint64_t change = 1 + random.below(3); change != 0; --change) {
            const bool small = random.below(2) == 0;
            const auto value = random.below(2) == 0
                                   ? telling[random.below(std::size(telling))]
                                   : static_cast<std::uint32_t>(random.next() >> random.below(32));
            if (random.below(3) == 0) {
                const auto group = static_cast<std::uint32_t>(random.below(4));
                if (small)
                    edit.set_descriptor(group, random.below(31) * 2, static_cast<std::uint16_t>(value));
                else
                    edit.set_descriptor(group, random.below(15) * 4, value);
            } else {
                if (small)
                    edit.set_super(random.below(320) * 2, static_cast<std::uint16_t>(value));
                else
                    edit.set_super(random.below(160) * 4, value);
            }
        }
        const auto start = std::chrono::steady_clock::now();
        const layout::UsedExtents used = used_as(MemoryDevice(bytes), "ext4");
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << "round " << round;
        for (block::Extent extent : used.used)
            EXPECT_LE(extent.end, kSize);
        EXPECT_TRUE(used.whole == !used.reason.empty()) << "round " << round;
        read += used.whole ? 0 : 1;
    }
    EXPECT_GT(read, 5u);    // the flips leave some filesystems readable
    EXPECT_LT(read, 290u);  // and are noticed in others
}

INSTANTIATE_TEST_SUITE_P(Seed, FlippedExt, testing::Range<std::uint64_t>(1, 13));

TEST(ExtentCollector, IsExactBelowItsLimitAndNeverLosesARunAboveIt) {
    layout::ExtentCollector exact(10), bounded(10);
    block::ExtentSet all;
    for (ByteOffset at = 0; at < 10; ++at)
        exact.add({at * 8192, at * 8192 + 512});
    EXPECT_EQ(exact.take().total_bytes(), 10 * 512);
    SeededRandom random(7);
    for (ByteOffset at = 0; at < 200 * kMiB; at += 512 * (2 + random.below(200))) {
        bounded.add({at, at + 512});
        all.insert({at, at + 512});
    }
    const block::ExtentSet set = bounded.take();
    EXPECT_LE(set.count(), 10u);
    for (block::Extent extent : all)
        EXPECT_TRUE(set.contains(extent));
}

}  // namespace
}  // namespace dupengine::test
