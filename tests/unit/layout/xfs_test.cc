// XFS by the real mkfs.xfs: used extents against what xfs_db and xfs_repair say, and damage of every
// structure that the reader looks at. tests/system/xfs_test.cc has the aged ones.

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "base/random.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

// Files and a folder that mkfs.xfs itself puts in (its "prototype file").
std::string make_prototype(const ScratchFolder& scratch) {
    std::string text = "//\n0 0\nd--755 0 0\n";
    for (unsigned i = 0; i < 12; ++i) {
        Bytes content(1 + i * 30000);
        fill_pattern(content, i);
        const std::string path = scratch.file(fmt::format("source{}", i));
        write_file_atomic(path, content, 0644, Code::kInternal);
        text += fmt::format("file{} ---644 0 0 {}\n", i, path);
        if (i == 5) text += "folder d--755 0 0\n";
    }
    write_file_atomic(scratch.file("prototype"), as_bytes(text + "$\n$\n"), 0644, Code::kInternal);
    return scratch.file("prototype");
}

std::string make_xfs(const ScratchFolder& scratch, std::uint64_t size_mib,
                     const std::vector<std::string>& arguments) {
    const std::string image = scratch.sparse_file("image", size_mib * kMiB);
    std::vector<std::string> argv = {"mkfs.xfs", "-q", "-f", "--unsupported", "-p", make_prototype(scratch)};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

std::uint64_t xfs_db_number(const std::string& image, const std::string& where, const std::string& field) {
    const std::string text = must_run({"xfs_db", "-r", "-c", where, "-c", "p " + field, image});
    return std::stoull(text.substr(text.find('=') + 1));
}

struct Variant {
    const char* name;
    std::uint64_t size_mib;
    std::vector<std::string> arguments;
};

void PrintTo(const Variant& variant, std::ostream* out) {
    *out << variant.name;
}

class XfsVariant : public testing::TestWithParam<Variant> {};

TEST_P(XfsVariant, UsedIsAllButTheFreeRunsAndACopyOfItIsSound) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, GetParam().size_mib, GetParam().arguments);
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "xfs");
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    std::uint64_t free = 0;
    for (std::uint64_t group = 0; group < xfs_db_number(image, "sb 0", "agcount"); ++group)
        free += xfs_db_number(image, fmt::format("agf {}", group), "freeblks");
    EXPECT_EQ(look.used.block_bytes, xfs_db_number(image, "sb 0", "blocksize"));
    // What lies behind the filesystem's end is copied, too.
    const block::ExtentSet own = look.used.used.clipped_to({0, look.used.filesystem_bytes});
    EXPECT_EQ(own.total_bytes() / look.used.block_bytes, xfs_db_number(image, "sb 0", "dblocks") - free);
    rebuild(image, look.used, std::byte{0xA5}, scratch.file("copy"));
    const RunResult check =
        run_program({"xfs_repair", "-n", "-f", "-o", "force_geometry", scratch.file("copy")});
    EXPECT_EQ(check.status, 0) << check.out << check.complaint();
    EXPECT_EQ(look_at(scratch.file("copy")).used.used, look.used.used);
}

const Variant kVariants[] = {
    {"as_mkfs_makes_it", 64, {}},
    {"as_mkfs_makes_it_where_it_is_supported", 320, {}},
    {"version_4", 64, {"-m", "crc=0"}},
    {"version_4_without_lazy_counts", 64, {"-m", "crc=0", "-l", "lazy-count=0"}},
    {"version_4_with_blocks_of_512", 64, {"-m", "crc=0", "-b", "size=512"}},
    {"blocks_of_1K", 64, {"-b", "size=1024"}},
    {"blocks_of_16K", 128, {"-b", "size=16384"}},
    {"blocks_of_64K", 320, {"-b", "size=65536"}},
    {"sectors_of_4K", 64, {"-s", "size=4096"}},
    {"all_trees", 64, {"-m", "rmapbt=1,reflink=1,inobtcount=1,bigtime=1", "-i", "nrext64=1,sparse=1"}},
    {"no_optional_trees", 64, {"-m", "finobt=0,reflink=0,bigtime=0,inobtcount=0", "-i", "sparse=0"}},
    {"one_group", 64, {"-d", "agcount=1"}},
    {"many_groups_of_odd_sizes", 100, {"-d", "agsize=17m"}},
    {"a_log_with_stripes", 320, {"-l", "su=256k"}},
    {"a_log_in_another_group", 64, {"-l", "agnum=3"}},
};

INSTANTIATE_TEST_SUITE_P(Made, XfsVariant, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

TEST(Xfs, AChangedIdentifierIsKnown) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, 64, {});
    must_run({"xfs_admin", "-U", "01234567-89ab-cdef-0123-456789abcdef", image});
    EXPECT_FALSE(look_at(image).used.whole) << look_at(image).used.reason;
}

TEST(Xfs, ALogThatXfsRepairMadeAnewIsClean) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, 64, {});
    must_run({"xfs_repair", "-L", image});
    EXPECT_FALSE(look_at(image).used.whole) << look_at(image).used.reason;
}

// Big-endian stores and CRC-32C, for those who damage an XFS and then put the checksum right.
void store_be32(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) {
    store_le<std::uint32_t>(bytes, at, __builtin_bswap32(value));
}

void seal(std::span<std::byte> structure, std::size_t crc_at) {
    store_le<std::uint32_t>(structure, crc_at, 0);
    std::uint32_t crc = ~0u;
    for (std::byte byte : structure) {
        crc ^= std::to_integer<std::uint32_t>(byte);
        for (int bit = 0; bit < 8; ++bit)
            crc = crc >> 1 ^ (0x82F63B78u & -(crc & 1));
    }
    store_le<std::uint32_t>(structure, crc_at, ~crc);
}

// Blocks of 4 KiB, sectors of 512 bytes, four groups.
class DamagedXfs : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 64 * kMiB, kBlock = 4096, kSector = 512;

    void make(const std::vector<std::string>& arguments = {}) {
        const ScratchFolder scratch;
        const std::string image = make_xfs(scratch, kSize / kMiB, arguments);
        group_ = xfs_db_number(image, "sb 0", "agblocks") * kBlock;
        good_ = load_file(image);
        renew();
    }
    void renew() { disk_ = std::make_unique<MemoryDevice>(std::make_shared<DiskBytes>(*good_)); }
    std::span<std::byte> at(ByteOffset offset, std::size_t size) {
        return std::span(disk_->bytes()->content).subspan(offset, size);
    }
    std::uint32_t be32(ByteOffset offset) { return load_be<std::uint32_t>(at(offset, 4), 0); }
    ByteOffset log_begin() {
        const unsigned shift = std::to_integer<unsigned>(at(124, 1)[0]);
        const auto start = load_be<std::uint64_t>(at(48, 8), 0);
        return (start >> shift) * group_ + (start & ((1u << shift) - 1)) * kBlock;
    }
    ByteOffset root(std::uint64_t group) {
        return group * group_ + be32(group * group_ + kSector + 16) * kBlock;
    }
    layout::UsedExtents look() { return used_as(*disk_, "xfs"); }
    void expect_whole(const std::string& reason) {
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole) << reason;
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
        renew();
    }
    void super(std::size_t field, std::uint32_t value, const std::string& reason) {
        store_be32(at(0, kSector), field, value);
        seal(at(0, kSector), 224);
        expect_whole(reason);
    }
    void agf(std::size_t field, std::uint32_t value, const std::string& reason) {
        store_be32(at(group_ + kSector, kSector), field, value);
        seal(at(group_ + kSector, kSector), 216);
        expect_whole(reason);
    }
    void tree(std::size_t field, std::uint32_t value, const std::string& reason) {
        const auto block = at(root(1), kBlock);
        store_be32(block, field, value);
        seal(block, 52);
        expect_whole(reason);
    }
    std::uint64_t group_ = 0;
    std::shared_ptr<DiskBytes> good_;
    std::unique_ptr<MemoryDevice> disk_;
};

TEST_F(DamagedXfs, ImpossibleSuperblocksAreCopiedWhole) {
    make();
    ASSERT_FALSE(look().whole) << look().reason;
    super(0, 0x12345678, "no superblock");
    super(4, 0, "blocks of 0 bytes");
    super(4, 3000, "blocks of 3000 bytes");
    super(4, 8192, "blocks of 8192 bytes with the logarithm 12");
    super(8, 0xFFFFFFFF, "number too large");
    super(12, kSize / kBlock + 1, "the partition has");
    super(84, 0, "groups of 0");
    super(84, 4097, "groups of 4097 blocks with the logarithm 12");
    super(84, 2048, "in 4 groups of 2048");
    super(88, 0, "in 0 groups");
    super(88, 0xFFFFFFFF, "in 4294967295 groups");
    super(100, 0xB4A60200, "version 6 is not known");
    super(100, 0xB4A58000, "sectors of 32768 bytes");
    super(120, 0x0D090903, "with the logarithm 13");
    super(124, 0x1F000019, "with the logarithm 31");
    super(124, 0x0C000119, "did not finish");
    super(20, 1, "realtime");
    super(28, 1, "realtime");
    super(96, 0xFFFFFFF0, "its log would be");
    super(48, 0xFF000000, "its log would be");
    super(144, 1, "the superblock counts");
    store_be32(at(0, kSector), 48, 0);
    store_be32(at(0, kSector), 52, 0);
    seal(at(0, kSector), 224);
    expect_whole("its log is on another device");
}

TEST_F(DamagedXfs, FeaturesThatNobodyHereKnowsAreCopiedWhole) {
    make();
    const std::uint32_t incompatible = be32(216);
    super(212, 0x100, "unknown read-only-compatible feature 0x100");
    super(216, incompatible | 0x100, "unknown incompatible feature 0x100");
    super(216, incompatible | 0x80000000, "unknown incompatible feature 0x80000000");
    super(216, incompatible | 0x10, "needing xfs_repair");
    super(220, 0x2, "unknown log feature 0x2");
    // Anybody may read and write a filesystem with an unknown compatible feature.
    store_be32(at(0, kSector), 208, 0x80000000);
    seal(at(0, kSector), 224);
    EXPECT_FALSE(look().whole);

    make({"-m", "crc=0"});
    super(200, be32(200) | 0x10, "unknown version 4 feature 0x10");
    super(100, 0xB6A40200, "feature shared");
}

TEST_F(DamagedXfs, ImpossibleGroupHeadersAreCopiedWhole) {
    make();
    agf(0, 0, "no AGF");
    agf(8, 2, "its AGF is that of group 2");
    agf(12, 4095, "its AGF counts 4095 blocks, not 4096");
    agf(16, 0, "points to block 0");
    agf(16, 4096, "points to block 4096 of 4096");
    agf(16, 2, "block 2 is no tree block of free space");  // the tree by size
    agf(28, 0, "its tree of free space has 0 levels");
    agf(28, 10, "its tree of free space has 10 levels");
    agf(28, 2, "is of level 0, not 1");
    agf(52, 1, "its AGF says 1 and");
    agf(56, 1, "free blocks");
    agf(64, 1, "its AGF is of another filesystem");
}

TEST_F(DamagedXfs, ImpossibleTreesAreCopiedWhole) {
    make();
    const std::uint32_t first = be32(root(1) + 56), count = be32(root(1) + 60);
    tree(0, 0x41425442, "is no tree block");  // of version 4
    tree(4, 0x00010001, "is of level 1, not 0");
    tree(4, 0x00000000, "its tree has 0 free blocks");
    tree(4, 0x0000FFFF, "has 65535 entries, 505 fit");
    tree(8, 5, "contradict each other");
    tree(12, 5, "says that 5 follows");
    tree(20, 0, "belongs somewhere else");
    tree(32, 0, "belongs somewhere else");
    tree(48, 2, "belongs somewhere else");
    tree(56, 0, "free blocks from block 0");
    tree(56, 0xFFFFFFFF, "free blocks from block 4294967295");
    tree(60, 0, "0 free blocks from block");
    tree(60, 0xFFFFFFFF, "4294967295 free blocks");
    tree(60, count - 1, "free blocks");
    EXPECT_LT(first + count, 4097u);
}

TEST_F(DamagedXfs, ALogThatDoesNotEndWithAnUnmountIsDirty) {
    make();
    const ByteOffset log = log_begin();
    const auto with = [&](std::size_t field, std::uint32_t value, const std::string& reason) {
        store_be32(at(log, kBlock), field, value);
        expect_whole(reason);
    };
    ASSERT_EQ(be32(log), 0xFEEDBABE);
    with(0, 0, "its log was never written");
    with(0, 5, "its log begins with cycle 5 and ends with cycle 0");
    with(4, 0, "its log was never written");
    with(12, 4096, "its log is dirty");
    with(12, 0, "its log is dirty");
    with(20, 7, "its log is dirty");
    with(40, 2, "its log is dirty");
    with(512 + 8, 0x69000000, "its log is dirty");
    with(512, 2, "its log is dirty (writes to it were cut off)");
    with(1024, 1, "its log is dirty");                              // one more block, of no record
    with(3072, 1, "its log is dirty (writes to it were cut off)");  // one more, after a hole
    with(4096 - 512, 9, "its log is dirty (writes to it were cut off)");
}

TEST_F(DamagedXfs, WhatTheDiskDoesNotReadIsItsFaultAndNoDamage) {
    make();
    unsigned failing = 0, reads = 0;
    disk_->set_interceptor([&](std::size_t, const Call&) {
        if (reads++ == failing) throw_error(Code::kSourceIo, "EIO at read {}", failing);
    });
    for (;; ++failing, reads = 0) {
        SCOPED_TRACE(failing);
        try {
            EXPECT_FALSE(look().whole) << look().reason;
            break;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kSourceIo) << e.what();
        }
        ASSERT_FALSE(HasFailure());
    }
    EXPECT_GT(failing, 20u) << "the log was not read";
}

// With checksums, no flipped byte of what decides is believed.
TEST_F(DamagedXfs, EveryFlippedByteIsNoticedByItsChecksum) {
    make();
    SeededRandom random(7);
    for (unsigned i = 0; i < 400; ++i) {
        const std::uint64_t group = random.below(4), place = random.below(5);
        ByteOffset flip = group * group_ + place * kSector + random.below(kSector);
        if (place == 0) flip = random.below(kSector);
        if (place == 4) flip = root(group) + random.below(kBlock);
        at(flip, 1)[0] ^= static_cast<std::byte>(1 + random.below(255));
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole) << "byte " << flip;
        EXPECT_FALSE(used.reason.empty());
        at(flip, 1)[0] = good_->content[flip];
    }
    EXPECT_FALSE(look().whole);
}

// Without, or with checksums put right again, a run may seem to lie elsewhere; but then the counts, the order
// and the borders keep it from growing.
TEST_F(DamagedXfs, FlippedBytesNeverMakeLessOfIt) {
    for (const bool checksums : {false, true}) {
        make({"-m", checksums ? "crc=1" : "crc=0"});
        const std::uint64_t used = look().used.total_bytes();
        SeededRandom random(11);
        for (unsigned i = 0; i < 800; ++i) {
            const std::uint64_t group = random.below(4), place = random.below(4);
            ByteOffset begin = group * group_ + kSector;
            std::size_t size = kSector, crc_at = 216;
            if (place == 0) begin = 0, crc_at = 224;
            if (place >= 2) begin = root(group), size = kBlock, crc_at = 52;
            const ByteOffset flip = begin + random.below(place >= 2 ? 80 : 256);
            at(flip, 1)[0] ^= static_cast<std::byte>(1 + random.below(255));
            if (checksums) seal(at(begin, size), crc_at);
            const layout::UsedExtents found = look();
            EXPECT_EQ(found.whole, !found.reason.empty());
            EXPECT_GE(found.used.total_bytes(), used) << "seed 11, step " << i << ", byte " << flip;
            std::copy_n(good_->content.begin() + static_cast<std::ptrdiff_t>(begin), size,
                        at(begin, size).begin());
        }
    }
}

TEST_F(DamagedXfs, APartitionThatIsOneSectorShortIsCopiedWholeAndALongerOneIsNot) {
    make();
    disk_->bytes()->content.resize(kSize - kSector);
    const MemoryDevice shorter(disk_->bytes());
    EXPECT_TRUE(used_as(shorter, "xfs").whole);
    disk_->bytes()->content.resize(kSize + kSector);
    std::copy(good_->content.begin(), good_->content.end(), disk_->bytes()->content.begin());
    const MemoryDevice longer(disk_->bytes());
    EXPECT_FALSE(used_as(longer, "xfs").whole);
    EXPECT_EQ(used_as(longer, "xfs").filesystem_bytes, kSize);
    for (const std::uint64_t size : {0u, 1u, 511u, 512u, 4096u})
        EXPECT_TRUE(used_as(MemoryDevice(size), "xfs").whole);
}

TEST_F(DamagedXfs, AReadErrorIsAnErrorAndNotAReasonToCopyWhole) {
    make();
    disk_->set_interceptor([this](std::size_t, const Call& call) {
        if (call.extent.begin == group_) throw_error(Code::kSourceIo, "EIO");
    });
    EXPECT_THROW(look(), Error);
}

}  // namespace
}  // namespace dupengine::test
