// btrfs by the real mkfs.btrfs: a copy of the used extents alone must be the same filesystem, and what cannot
// be trusted is copied whole.

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "base/fd.h"
#include "base/random.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"
#include "tests/support/sealed_reader.h"

namespace dupengine::test {
namespace {

std::string make_btrfs(const ScratchFolder& scratch, std::uint64_t size_bytes,
                       const std::vector<std::string>& arguments) {
    const std::string image = scratch.sparse_file("image", size_bytes);
    std::vector<std::string> argv = {"mkfs.btrfs", "-q", "-f"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

// What btrfs itself counts: the used bytes of all block groups, twice for DUP.
std::uint64_t bytes_in_block_groups(const std::string& image) {
    std::istringstream lines(must_run({"btrfs", "inspect-internal", "dump-tree", image}));
    std::uint64_t sum = 0;
    const std::string words = "block group used ";
    for (std::string line; std::getline(lines, line);) {
        const std::size_t at = line.find(words);
        if (at == std::string::npos) continue;
        const std::uint64_t copies = line.find("DUP") != std::string::npos ? 2 : 1;
        sum += copies * std::stoull(line.substr(at + words.size()));
    }
    return sum;
}

struct Variant {
    const char* name;
    std::uint64_t size_mib;
    std::vector<std::string> arguments;
};

void PrintTo(const Variant& variant, std::ostream* out) {
    *out << variant.name;
}

class BtrfsVariant : public testing::TestWithParam<Variant> {};

TEST_P(BtrfsVariant, UsedExtentsHoldEveryFileAndNoFreeSpace) {
    const ScratchFolder scratch;
    const std::string tree = make_tree(scratch, "tree", 1), copy = scratch.file("copy");
    std::vector<std::string> arguments = {"--rootdir", tree};
    arguments.insert(arguments.end(), GetParam().arguments.begin(), GetParam().arguments.end());
    const std::string image = make_btrfs(scratch, GetParam().size_mib * kMiB, arguments);
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "btrfs");
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    EXPECT_EQ(look.used.filesystem_bytes, GetParam().size_mib * kMiB);
    const std::uint64_t superblocks = kMiB + (GetParam().size_mib > 64 ? 4 * kKiB : 0);
    EXPECT_EQ(look.used.used.total_bytes(), bytes_in_block_groups(image) + superblocks);

    rebuild(image, look.used, std::byte{0xA5}, copy);
    const RunResult check = run_program({"btrfs", "check", "--readonly", "--check-data-csum", copy});
    EXPECT_EQ(check.status, 0) << check.out << check.err;
    must_run({"mkdir", scratch.file("found")});
    must_run({"btrfs", "restore", "--symlinks", copy, scratch.file("found")});
    const RunResult difference = run_program({"diff", "-r", "--no-dereference", tree, scratch.file("found")});
    EXPECT_EQ(difference.status, 0) << difference.complaint();
}

const Variant kVariants[] = {
    {"usual", 128, {}},
    {"mixed_groups", 48, {"-M"}},
    {"small_nodes", 128, {"-n", "4096"}},
    {"large_nodes", 128, {"-n", "65536"}},
    {"one_copy_of_metadata", 96, {"-m", "single"}},
    {"two_copies_of_data", 256, {"-d", "dup"}},
    {"raid0_over_one_device", 192, {"-d", "raid0"}},
    {"xxhash", 128, {"--csum", "xxhash"}},
    {"sha256", 128, {"--csum", "sha256"}},
    {"without_free_space_tree", 128, {"-R", "^free-space-tree"}},
};

INSTANTIATE_TEST_SUITE_P(Made, BtrfsVariant, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

// A small filesystem in memory, to be damaged. `sealed`: with checksums that match all the same.
class DamagedBtrfs : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 48 * kMiB;
    static constexpr ByteOffset kSuper = 64 * kKiB;
    DamagedBtrfs() {
        image_ = make_btrfs(scratch_, kSize, {"-M"});
        reset();
    }
    void reset() { disk_ = std::make_unique<MemoryDevice>(load_file(image_)); }
    std::span<std::byte> bytes() { return disk_->bytes()->content; }
    template <typename T>
    void put(std::size_t field, T value) {
        store_le<T>(bytes(), kSuper + field, value);
    }
    layout::UsedExtents look() { return used_as(SealedReader(*disk_), "btrfs"); }
    void expect_whole(const std::string& reason) {
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole) << reason;
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, bytes().size()}}));
        reset();
    }
    ScratchFolder scratch_;
    std::string image_;
    std::unique_ptr<MemoryDevice> disk_;
};

TEST_F(DamagedBtrfs, ImpossibleSuperblocksAreCopiedWhole) {
    EXPECT_FALSE(look().whole) << look().reason;
    put<std::uint64_t>(0x30, 1), expect_whole("no superblock");
    put<std::uint64_t>(0x40, 1), expect_whole("no superblock");
    put<std::uint32_t>(0x90, 4097), expect_whole("sectors of 4097 bytes");
    put<std::uint32_t>(0x94, 0), expect_whole("nodes of 0 bytes");
    put<std::uint32_t>(0x94, 0x80000000), expect_whole("nodes of 2147483648 bytes");
    put<std::uint32_t>(0xA0, 2049), expect_whole("2049 bytes of system chunks");
    put<std::uint8_t>(0xC6, 8), expect_whole("8 and 0 levels");
    put<std::uint64_t>(0xC9 + 8, kSize + 4096), expect_whole("the partition has 50331648");
    put<std::uint64_t>(0xC9 + 8, 0), expect_whole("covers 0 bytes");
    put<std::uint64_t>(0xC9, 7), expect_whole("another device");
    put<std::uint64_t>(0xC9 + 66, 7), expect_whole("another device");
    put<std::uint64_t>(0x78, 4096), expect_whole("the superblock counts 4096 bytes in use");
    put<std::uint64_t>(0x50, ~std::uint64_t{0}), expect_whole("number too large");
    put<std::uint64_t>(0x50, 7 * kGiB), expect_whole("is in no chunk");
    put<std::uint64_t>(0x48, 1), expect_whole("another generation");
    put<std::uint64_t>(0x58, 4096), expect_whole("in no chunk");
    put<std::uint64_t>(0x38, 4), expect_whole("marked as having errors");
    put<std::uint64_t>(0x38, std::uint64_t{1} << 35), expect_whole("unknown flags 0x800000000");
}

TEST_F(DamagedBtrfs, WhatIsNotUnderstoodIsCopiedWhole) {
    const auto incompat = load_le<std::uint64_t>(bytes(), kSuper + 0xBC);
    const auto with = [&](unsigned number, const std::string& reason) {
        put<std::uint64_t>(0xBC, incompat | std::uint64_t{1} << number);
        expect_whole(reason);
    };
    with(7, "RAID 5 or 6");
    with(12, "zoned");
    with(13, "extent tree v2");
    with(14, "RAID stripe tree");
    with(15, "unknown features 0x8000");
    with(63, "unknown features 0x8000000000000000");
    put<std::uint64_t>(0xB4, 16), expect_whole("unknown read-only features 0x10");
    put<std::uint16_t>(0xC4, 3), expect_whole("BLAKE2b");
    put<std::uint16_t>(0xC4, 4), expect_whole("checksums of type 4");
    put<std::uint64_t>(0x88, 2), expect_whole("one of 2 devices");
}

TEST_F(DamagedBtrfs, APartitionThatIsOneSectorTooSmallIsCopiedWhole) {
    disk_->bytes()->content.resize(kSize - 512);
    disk_ = std::make_unique<MemoryDevice>(disk_->bytes());
    expect_whole("covers 50331648 bytes, the partition has 50331136");
    disk_->bytes()->content.resize(kSize + 512);
    disk_ = std::make_unique<MemoryDevice>(disk_->bytes());
    EXPECT_FALSE(look().whole) << look().reason;
}

TEST_F(DamagedBtrfs, ALogThatWasNotReplayedIsCopiedWithAllThatItMayReferTo) {
    const layout::UsedExtents before = look();
    put<std::uint64_t>(0x60, load_le<std::uint64_t>(bytes(), kSuper + 0x50));
    const layout::UsedExtents used = look();
    EXPECT_FALSE(used.whole) << used.reason;
    EXPECT_NE(used.note.find("needs log replay"), std::string::npos);
    for (block::Extent extent : before.used)
        EXPECT_TRUE(used.used.contains(extent));
    EXPECT_GT(used.used.total_bytes(), before.used.total_bytes() + 4 * kMiB);
    put<std::uint64_t>(0x60, 7 * kGiB);
    expect_whole("in no chunk");
}

TEST(BtrfsCopies, ABlockThatIsDamagedInOneOfItsCopiesIsReadFromTheOther) {
    const ScratchFolder scratch;
    const std::string image = make_btrfs(scratch, 128 * kMiB, {});
    const auto good = load_file(image);
    const layout::UsedExtents wanted = used_as(MemoryDevice(good), "btrfs");
    ASSERT_FALSE(wanted.whole) << wanted.reason;
    // The blocks of both copies in turn: "owner EXTENT_TREE" and all others.
    unsigned once = 0;
    for (ByteOffset at = kMiB; at < good->content.size(); at += 16 * kKiB) {
        if (!wanted.used.contains({at, at + 16 * kKiB})) continue;
        auto bytes = std::make_shared<DiskBytes>(*good);
        bytes->content[at + 200] ^= std::byte{1};
        EXPECT_EQ(used_as(MemoryDevice(bytes), "btrfs").used, wanted.used) << at;
        ++once;
    }
    EXPECT_GT(once, 10u);
    auto bytes = std::make_shared<DiskBytes>(*good);
    for (ByteOffset at = kMiB; at < good->content.size(); at += 16 * kKiB)
        if (wanted.used.contains({at, at + 16 * kKiB})) bytes->content[at + 200] ^= std::byte{1};
    EXPECT_NE(used_as(MemoryDevice(bytes), "btrfs").reason.find("does not match its checksum"),
              std::string::npos);
}

TEST_F(DamagedBtrfs, AReadErrorIsAnErrorAndNotAReasonToCopyWhole) {
    unsigned reads = 0;
    disk_->set_interceptor([&](std::size_t, const Call&) {
        if (++reads == 3) throw_error(Code::kSourceIo, "EIO");
    });
    EXPECT_THROW(look(), Error);
}

// Bits flipped anywhere in what is used.
class FlippedBtrfs : public testing::TestWithParam<std::uint64_t> {
  protected:
    // Calls `look` with some bits flipped, and flips them back.
    template <typename Look>
    void with_flips(SeededRandom& random, Look look) {
        struct Flip {
            ByteOffset at;
            std::byte bits;
        };
        std::vector<Flip> flips;
        for (std::uint64_t change = 1 + random.below(3); change != 0; --change) {
            const ByteOffset block = blocks_[random.below(blocks_.size())];
            // Mostly headers and keys; the items are at the end.
            const std::uint64_t at = random.below(2) == 0 ? random.below(400) : random.below(4 * kKiB);
            flips.push_back({block + at, static_cast<std::byte>(1u << random.below(8))});
        }
        for (const Flip& flip : flips)
            disk_->bytes()->content[flip.at] ^= flip.bits;
        look();
        for (const Flip& flip : flips)
            disk_->bytes()->content[flip.at] ^= flip.bits;
    }
    FlippedBtrfs() {
        const std::string image = make_btrfs(scratch_, 48 * kMiB, {"-M"});
        disk_ = std::make_unique<MemoryDevice>(load_file(image));
        wanted_ = used_as(*disk_, "btrfs").used;
        for (int twice = 0; twice < 2; ++twice)
            blocks_.push_back(64 * kKiB);
        for (block::Extent extent : wanted_)
            for (ByteOffset at = std::max(extent.begin, kMiB); at < extent.end; at += 4 * kKiB)
                blocks_.push_back(at);
    }
    ScratchFolder scratch_;
    std::unique_ptr<MemoryDevice> disk_;
    block::ExtentSet wanted_;
    std::vector<ByteOffset> blocks_;
};

TEST_P(FlippedBtrfs, IsCopiedWholeOrLosesNothing) {
    SeededRandom random(GetParam());
    unsigned read = 0;
    constexpr unsigned kRounds = 300;
    for (unsigned round = 0; round < kRounds; ++round)
        with_flips(random, [&] {
            const layout::UsedExtents used = used_as(*disk_, "btrfs");
            EXPECT_TRUE(used.whole == !used.reason.empty());
            for (block::Extent extent : wanted_)
                EXPECT_TRUE(used.used.contains(extent)) << "seed " << GetParam() << ", round " << round;
            read += used.whole ? 0 : 1;
        });
    EXPECT_GT(read, 5u);  // not every block is looked at
    EXPECT_LT(read, kRounds - 10);
}

TEST_P(FlippedBtrfs, BehindGoodChecksumsIsNoCrash) {
    SeededRandom random(GetParam() + 1000);
    const SealedReader sealed(*disk_);
    for (unsigned round = 0; round < 300; ++round)
        with_flips(random, [&] {
            const layout::UsedExtents used = used_as(sealed, "btrfs");
            EXPECT_TRUE(used.whole == !used.reason.empty());
            for (block::Extent extent : used.used)
                EXPECT_LE(extent.end, disk_->geometry().size_bytes);
        });
}

INSTANTIATE_TEST_SUITE_P(Seed, FlippedBtrfs, testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace dupengine::test
