// F2FS by the real mkfs.f2fs and sload.f2fs: what fsck.f2fs counts, fsck.f2fs and the files of a copy, the
// ways in which a kernel leaves the segment information table, and damage of every structure that the reader
// looks at.

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "base/random.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

struct Variant {
    const char* name;
    std::uint64_t size_mib;
    std::vector<std::string> arguments;
};

void PrintTo(const Variant& variant, std::ostream* out) {
    *out << variant.name;
}

// mkfs.f2fs writes the first checkpoint; sload.f2fs another one, with files.
std::string make_f2fs(const ScratchFolder& scratch, std::uint64_t size_mib,
                      const std::vector<std::string>& arguments, const std::string& tree) {
    const std::string image = scratch.sparse_file("image", size_mib * kMiB);
    std::vector<std::string> argv = {"mkfs.f2fs", "-q", "-l", "A LABEL"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(image);
    must_run(argv);
    if (!tree.empty()) must_run({"sload.f2fs", "-f", tree, image});
    return image;
}

std::string some_files(const ScratchFolder& scratch) {
    const std::string tree = scratch.file("tree");
    std::filesystem::create_directories(tree + "/folder");
    for (unsigned i = 0; i < 30; ++i) {
        Bytes content(1 + i * i * 3000);
        fill_pattern(content, i);
        write_file_atomic(fmt::format("{}/{}file{}", tree, i % 3 == 0 ? "folder/" : "", i), content, 0644,
                          Code::kInternal);
    }
    return tree;
}

// A hexadecimal number in brackets at the end of a line of what fsck.f2fs says.
std::uint64_t checked_number(const std::string& report, const std::string& words) {
    const std::size_t at = report.find(words);
    if (at == std::string::npos) throw_error(Code::kInternal, "no '{}' in: {}", words, report);
    return std::stoull(report.substr(report.find("[0x", at) + 1), nullptr, 16);
}

class F2fsVariant : public testing::TestWithParam<Variant> {};

TEST_P(F2fsVariant, UsedIsWhatTheSegmentsCallValidAndACopyOfItIsSound) {
    const ScratchFolder scratch;
    const std::string tree = some_files(scratch);
    for (const bool with_files : {false, true}) {
        const std::string image =
            make_f2fs(scratch, GetParam().size_mib, GetParam().arguments, with_files ? tree : "");
        const Look look = look_at(image);
        ASSERT_TRUE(look.signature);
        EXPECT_EQ(look.signature->type, "f2fs");
        ASSERT_FALSE(look.used.whole) << look.used.reason;
        EXPECT_EQ(look.used.note, "");
        const std::string report = must_run({"fsck.f2fs", "--dry-run", image});
        const Bytes super = block::read_extent(*block::open_source(image), {1024, 2048});
        const std::uint64_t main = load_le<std::uint32_t>(super, 92);
        EXPECT_EQ(look.used.used.total_bytes() / 4096,
                  main + checked_number(report, "valid_block_count matching with CP"));

        const std::string copy = scratch.file("copy");
        rebuild(image, look.used, std::byte{0xA5}, copy);
        const RunResult check = run_program({"fsck.f2fs", "--dry-run", copy});
        EXPECT_EQ(check.status, 0) << check.out << check.complaint();
        EXPECT_EQ(check.out.find("Fail"), std::string::npos) << check.out;
        if (with_files) {
            extract_f2fs(image, scratch.file("one"));
            extract_f2fs(copy, scratch.file("other"));
            const RunResult same = run_program({"diff", "-r", scratch.file("one"), scratch.file("other")});
            EXPECT_EQ(same.status, 0) << same.complaint();
            const RunResult largest =
                run_program({"cmp", tree + "/file29", scratch.file("other") + "/lost_found/file29"});
            EXPECT_EQ(largest.status, 0) << largest.complaint();
        }
        std::filesystem::remove(image);
    }
}

const Variant kVariants[] = {
    {"as_mkfs_makes_it", 128, {}},
    {"larger", 400, {}},
    {"two_segments_a_section", 256, {"-s", "2"}},
    {"two_sections_a_zone", 256, {"-z", "2"}},
    {"a_large_node_bitmap", 128, {"-i"}},
    {"checksums_and_attributes",
     128,
     {"-O", "extra_attr,inode_checksum,sb_checksum,inode_crtime,quota,project_quota"}},
    {"as_android_has_it", 128, {"-g", "android"}},
    {"lost_and_found", 128, {"-O", "lost_found,verity,encrypt"}},
};

INSTANTIATE_TEST_SUITE_P(Made, F2fsVariant, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

// The checksum of F2FS: CRC-32 from a seed, without inversion. Bit by bit.
std::uint32_t f2fs_checksum(std::span<const std::byte> bytes) {
    std::uint32_t crc = 0xF2F52010;
    for (std::byte byte : bytes) {
        crc ^= std::to_integer<std::uint32_t>(byte);
        for (int bit = 0; bit < 8; ++bit)
            crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
    }
    return crc;
}

class DamagedF2fs : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 128 * kMiB, kBlock = 4096, kSegment = 512;
    static constexpr std::size_t kSuper = 1024, kCopy = 4096 + 1024;

    void make(const std::vector<std::string>& arguments = {}) {
        const ScratchFolder scratch;
        good_ = load_file(make_f2fs(scratch, kSize / kMiB, arguments, files_ ? some_files(scratch) : ""));
        disk_ = std::make_unique<MemoryDevice>(std::make_shared<DiskBytes>(*good_));
    }
    // No test changes anything behind the metadata.
    void renew() {
        const auto metadata = static_cast<std::ptrdiff_t>(
            load_le<std::uint32_t>(good_->content, kSuper + 92) * std::uint64_t{kBlock});
        std::copy_n(good_->content.begin(), metadata, disk_->bytes()->content.begin());
    }
    std::span<std::byte> at(ByteOffset offset, std::size_t size) {
        return std::span(disk_->bytes()->content).subspan(offset, size);
    }
    std::uint32_t u32(ByteOffset offset) { return load_le<std::uint32_t>(at(offset, 4), 0); }
    void put32(ByteOffset offset, std::uint32_t value) { store_le<std::uint32_t>(at(offset, 4), 0, value); }
    std::uint64_t area(std::size_t field) { return u32(kSuper + field) * kBlock; }
    // The newer checkpoint.
    ByteOffset pack() {
        const ByteOffset first = area(76), second = first + kSegment * kBlock;
        const auto version = [&](ByteOffset from) { return load_le<std::uint64_t>(at(from, 8), 0); };
        return version(second) > version(first) ? second : first;
    }
    ByteOffset pack_end() { return pack() + (u32(pack() + 136) - 1) * kBlock; }
    void seal_pack(ByteOffset header) {
        put32(header + u32(header + 164), f2fs_checksum(at(header, u32(header + 164))));
    }
    // A field of both headers of the newer checkpoint.
    void checkpoint(std::size_t field, std::uint32_t value) {
        for (ByteOffset header : {pack(), pack_end()}) {
            put32(header + field, value);
            if (field != 136) seal_pack(header);
        }
        if (field == 136) seal_pack(pack());
    }
    // Of the first copy of the table, which mkfs and sload use.
    ByteOffset entry(std::uint64_t segment) { return area(80) + segment / 55 * kBlock + segment % 55 * 74; }
    layout::UsedExtents look() { return used_as(*disk_, "f2fs"); }
    void expect_whole(const std::string& reason) {
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole) << reason;
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
        renew();
    }
    bool files_ = false;
    std::shared_ptr<DiskBytes> good_;
    std::unique_ptr<MemoryDevice> disk_;
};

TEST_F(DamagedF2fs, ImpossibleSuperblocksAreCopiedWhole) {
    make();
    ASSERT_FALSE(look().whole) << look().reason;
    const auto both = [&](std::size_t field, std::uint32_t value, const std::string& reason) {
        put32(kSuper + field, value);
        put32(kCopy + field, value);
        expect_whole(reason);
    };
    both(0, 0, "no superblock");
    both(8, 8, "sectors of 2^8 bytes");
    both(8, 13, "sectors of 2^13 bytes");
    both(12, 4, "sectors of 2^9 bytes");
    both(16, 14, "blocks of 2^14 bytes");
    both(20, 8, "segments of 2^8 blocks");
    both(36, kSize / kBlock + 1, "the partition has");
    both(36, 100, "100 blocks");
    both(40, 0xFFFFFFFF, "number too large");
    both(48, 1, "blocks");
    both(52, 3, "area 1 begins at block");
    both(56, 0, "area 2 begins at block");
    both(68, 0xFFFFFFFF, "segments for checkpoints");
    both(68, 0, "0 of data");
    both(72, 0, "area 0 begins at block");
    both(76, 0, "area 0 begins at block 0");
    both(92, 0xFFFFFFFF, "area 4 begins at block");
    both(1664, 504, "segments for checkpoints");
    both(2180, 0x2, "zoned");
    both(2180, 0x4000, "feature ro");
    both(2180, 0x4, "unknown feature 0x4");
    both(2180, 0x80008000, "unknown feature 0x80008000");
    both(2180, 0x800, "does not match its checksum");
    both(2201, 'x', "it is on several devices");
}

TEST_F(DamagedF2fs, TheSecondSuperblockStandsInForTheFirst) {
    make({"-O", "sb_checksum,extra_attr"});
    const block::ExtentSet used = look().used;
    EXPECT_EQ(look().note, "");
    at(kSuper + 1700, 1)[0] ^= std::byte{1};
    EXPECT_EQ(look().used, used);
    EXPECT_NE(look().note.find("its first superblock is damaged"), std::string::npos) << look().note;
    at(kCopy + 1700, 1)[0] ^= std::byte{1};
    expect_whole("the superblock does not match its checksum");
}

TEST_F(DamagedF2fs, OnlyACheckpointOfACleanUnmountIsBelieved) {
    make();
    const std::uint32_t flags = u32(pack() + 132);
    const auto with = [&](std::uint32_t value, const std::string& reason) {
        checkpoint(132, value);
        expect_whole(reason);
    };
    with(flags & ~1u, "not cleanly unmounted");
    with(flags | 0x8, "marked as having errors");
    with(flags | 0x10, "marked as having errors");
    with(flags | 0x1000, "its checkpoints are disabled");
    with(flags | 0x2000, "its checkpoints are disabled");
    with(flags | 0x4000, "it was being resized");
    with(flags | 0x8000, "unknown flags 0x8000");
    checkpoint(132, flags | 0x2);  // files that were deleted while open: still valid
    EXPECT_FALSE(look().whole);
}

TEST_F(DamagedF2fs, ImpossibleCheckpointsAreCopiedWhole) {
    files_ = true;
    make();
    const auto with = [&](std::size_t field, std::uint32_t value, const std::string& reason) {
        checkpoint(field, value);
        expect_whole(reason);
    };
    with(16, 1, "the checkpoint 1 and");
    with(144, 0xFFFFFF, "the checkpoint");
    with(156, 0, "has 0 bytes for the versions");
    with(156, 0xFFFFFFFF, "bytes for the versions");
    if ((u32(pack() + 132) & 4) != 0) {
        with(140, 0, "has its summaries in block 0");
        with(140, 500, "has its summaries in block 500");
    }
    for (ByteOffset older : {area(76), area(76) + kSegment * kBlock})
        at(older + 300, 1)[0] ^= std::byte{1};
    expect_whole("neither of its checkpoints is whole");
}

// Cut off while it was written, the newer checkpoint does not count; the one before knows of no files, which
// is not what the table says (sload.f2fs writes it in place).
TEST_F(DamagedF2fs, AHalfWrittenCheckpointDoesNotCount) {
    files_ = true;
    make();
    ASSERT_FALSE(look().whole) << look().reason;
    at(pack_end() + 8, 1)[0] ^= std::byte{1};
    expect_whole("the SIT counts");
}

// Mounted again, a file flushed, and cut: the checkpoint is still that of the clean unmount before.
TEST_F(DamagedF2fs, FilesFlushedAfterTheLastCheckpointMeanThatItIsNotTheWholeTruth) {
    files_ = true;
    make();
    const ByteOffset next =
        area(92) + (u32(pack() + 40) * kSegment + load_le<std::uint16_t>(at(pack() + 70, 2), 0)) * kBlock;
    const std::uint64_t version = load_le<std::uint64_t>(at(pack(), 8), 0);
    const std::uint64_t crc = u32(pack() + u32(pack() + 164));
    const Bytes before(at(next, kBlock).begin(), at(next, kBlock).end());
    const auto with = [&](std::uint64_t value, bool whole) {
        store_le<std::uint64_t>(at(next + kBlock - 12, 8), 0, value);
        EXPECT_EQ(look().whole, whole) << look().reason;
        std::copy(before.begin(), before.end(), at(next, kBlock).begin());
    };
    const bool checksum_counts = (u32(pack() + 132) & 0x40) != 0;
    with(checksum_counts ? version | crc << 32 : version, true);
    with(version - 1, false);  // of an older life
    checkpoint(132, u32(pack() + 132) ^ 0x40);
    const std::uint64_t crc_now = u32(pack() + u32(pack() + 164));
    with(checksum_counts ? version : version | crc_now << 32, true);
    renew();
    checkpoint(40, u32(kSuper + 68));
    expect_whole("nodes go on at block");
    for (ByteOffset header : {pack(), pack_end()}) {
        store_le<std::uint16_t>(at(header + 70, 2), 0, 512);
        seal_pack(header);
    }
    expect_whole("nodes go on at block 512");
}

TEST_F(DamagedF2fs, SegmentsThatContradictTheirCountAreCopiedWhole) {
    files_ = true;
    make();
    const auto with = [&](std::uint64_t segment, std::size_t field, const std::string& reason) {
        at(entry(segment) + field, 1)[0] ^= std::byte{1};
        expect_whole(reason);
    };
    for (const std::uint64_t segment : {0u, 5u, 10u}) {
        with(segment, 0, fmt::format("segment {} of type", segment));
        with(segment, 2, fmt::format("segment {} of type", segment));
        with(segment, 65, fmt::format("segment {} of type", segment));
    }
    // A full segment more than the checkpoint counts.
    ByteOffset free = 0;
    for (std::uint64_t segment = 0; segment < 11 && free == 0; ++segment)
        if ((load_le<std::uint16_t>(at(entry(segment), 2), 0) & 0x3FF) == 0) free = entry(segment);
    ASSERT_NE(free, 0u);
    store_le<std::uint16_t>(at(free, 2), 0, 512);
    std::fill_n(at(free + 2, 64).begin(), 64, std::byte{0xFF});
    expect_whole("valid blocks");
}

// As a kernel leaves it: the newest entry in the journal, the one before in the second copy of the table.
TEST_F(DamagedF2fs, TheJournalAndTheCopyInForceAreWhatCounts) {
    files_ = true;
    make();
    const layout::UsedExtents before = look();
    ASSERT_FALSE(before.whole) << before.reason;
    const ByteOffset copy = u32(kSuper + 56) / 2 * kSegment * kBlock;
    const Bytes table(at(area(80), kBlock).begin(), at(area(80), kBlock).end());

    // The first block of the table is in force in its second copy; the first copy is nonsense.
    std::copy(table.begin(), table.end(), at(area(80) + copy, kBlock).begin());
    std::fill_n(at(area(80), kBlock).begin(), kBlock, std::byte{0x5A});
    expect_whole("segment 0 of type");
    std::copy(table.begin(), table.end(), at(area(80) + copy, kBlock).begin());
    std::fill_n(at(area(80), kBlock).begin(), kBlock, std::byte{0x5A});
    for (ByteOffset header : {pack(), pack_end()}) {
        at(header + 192, 1)[0] ^= std::byte{0x80};
        seal_pack(header);
    }
    EXPECT_EQ(look().used, before.used);

    // One entry of it is newer in the journal.
    const bool compact = (u32(pack() + 132) & 4) != 0;
    const ByteOffset journal =
        compact ? pack() + u32(pack() + 140) * kBlock + 507 : pack_end() - 4 * kBlock + 3584;
    const auto count = load_le<std::uint16_t>(at(journal, 2), 0);
    ASSERT_LT(count, 6);
    const std::uint64_t segment = 0;
    store_le<std::uint16_t>(at(journal, 2), 0, static_cast<std::uint16_t>(count + 1));
    const ByteOffset newer = journal + 2 + count * 78u, stale = entry(segment) + copy;
    put32(newer, segment);
    std::copy_n(at(stale, 74).begin(), 74, at(newer + 4, 74).begin());
    std::fill_n(at(stale, 74).begin(), 74, std::byte{0x5A});
    EXPECT_EQ(look().used, before.used) << look().reason;

    put32(newer, u32(kSuper + 68));
    const layout::UsedExtents outside = look();
    EXPECT_NE(outside.reason.find("a journal entry for segment"), std::string::npos) << outside.reason;
    store_le<std::uint16_t>(at(journal, 2), 0, 7);
    expect_whole("a journal of 7 SIT entries");
}

TEST_F(DamagedF2fs, FlippedBytesAreSurvived) {
    files_ = true;
    for (const bool checksums : {false, true}) {
        make(checksums ? std::vector<std::string>{"-O", "sb_checksum,extra_attr"}
                       : std::vector<std::string>{});
        const std::uint64_t used = look().used.total_bytes();
        SeededRandom random(3);
        for (unsigned i = 0; i < 1000; ++i) {
            const ByteOffset places[] = {kSuper, pack(), pack_end(), entry(0),
                                         pack() + u32(pack() + 140) * kBlock + 507};
            const std::uint64_t place = random.below(5);
            const ByteOffset flip = places[place] + random.below(place == 0 ? 2300 : 507);
            at(flip, 1)[0] ^= static_cast<std::byte>(1 + random.below(255));
            const bool seal =
                (place == 1 || place == 2) && random.below(2) == 0 && u32(places[place] + 164) == 4092;
            if (seal) seal_pack(places[place]);
            const layout::UsedExtents found = look();
            EXPECT_EQ(found.whole, !found.reason.empty());
            for (block::Extent extent : found.used)
                EXPECT_LE(extent.end, kSize);
            // The table itself: one flipped byte never agrees with the count beside it.
            if (place == 3) {
                EXPECT_GE(found.used.total_bytes(), used) << "seed 3, step " << i << ", byte " << flip;
            }
            at(flip, 1)[0] = good_->content[flip];
            if (seal) seal_pack(places[place]);
        }
        EXPECT_EQ(look().used.total_bytes(), used);
    }
}

TEST_F(DamagedF2fs, APartitionThatIsOneSectorShortIsCopiedWholeAndALongerOneIsNot) {
    make();
    disk_->bytes()->content.resize(kSize - 512);
    EXPECT_TRUE(used_as(MemoryDevice(disk_->bytes()), "f2fs").whole);
    disk_->bytes()->content.resize(kSize + 512);
    EXPECT_FALSE(used_as(MemoryDevice(disk_->bytes()), "f2fs").whole);
    for (const std::uint64_t size : {0u, 1u, 511u, 4096u, 8192u})
        EXPECT_TRUE(used_as(MemoryDevice(size), "f2fs").whole);
}

TEST_F(DamagedF2fs, AReadErrorIsAnErrorAndNotAReasonToCopyWhole) {
    make();
    for (const ByteOffset bad : {ByteOffset{kSuper}, area(76), area(80)}) {
        disk_->set_interceptor([bad](std::size_t, const Call& call) {
            if (call.extent.begin == bad) throw_error(Code::kSourceIo, "EIO");
        });
        EXPECT_THROW(look(), Error);
    }
}

}  // namespace
}  // namespace dupengine::test
