// ext filesystems whose journal was not played: what the journal will mark used counts as used.

#include <gtest/gtest.h>

#include <chrono>

#include "base/fd.h"
#include "base/random.h"
#include "tests/support/ext_editor.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

constexpr std::uint64_t kSize = 8 * kMiB;

// A filesystem without metadata checksums, so that debugfs can log any bitmap; its journal is written by
// debugfs.
class UnplayedJournal : public testing::Test {
  protected:
    void make(const std::vector<std::string>& arguments = {"-t", "ext4", "-b", "1024", "-g", "2048", "-O",
                                                           "^metadata_csum,^uninit_bg"}) {
        image_ = make_ext(scratch_, "image", kSize, arguments, "");
        MemoryDevice disk(load_file(image_));
        ExtEditor edit(disk.bytes()->content);
        bitmap_block_ = edit.bitmap_block(1);
        const auto bitmap = edit.block(bitmap_block_);
        bitmap_.assign(bitmap.begin(), bitmap.end());
        before_ = look_at(image_).used;
    }
    // The bytes that bits [first, last) of group 1's bitmap stand for.
    static block::Extent group1(std::uint64_t first, std::uint64_t last) {
        return {(1 + 2048 + first) * 1024, (1 + 2048 + last) * 1024};
    }
    std::string bitmap_file(const std::string& name, std::size_t first_byte, std::size_t bytes) {
        Bytes content = bitmap_;
        for (std::size_t i = first_byte; i < first_byte + bytes; ++i)
            content[i] = std::byte{0xFF};
        write_file_atomic(scratch_.file(name), content, 0644, Code::kInternal);
        return scratch_.file(name);
    }
    void debugfs(const std::string& commands) {
        must_run({"debugfs", "-w", "-f", "-", image_}, {.input = commands, .extra_environment = {}});
    }
    layout::UsedExtents look() { return look_at(image_).used; }

    // Where the journal's superblock is.
    std::uint64_t journal_at() {
        const std::string text = must_run({"debugfs", "-R", "bmap <8> 0", image_});
        return std::stoull(text) * 1024;
    }

    ScratchFolder scratch_;
    std::string image_;
    std::uint64_t bitmap_block_ = 0;
    Bytes bitmap_;
    layout::UsedExtents before_;
};

TEST_F(UnplayedJournal, BlocksThatACommittedTransactionAllocatesAreCopied) {
    for (const char* open : {"jo", "jo -c"}) {  // without and with journal checksums
        make();
        ASSERT_FALSE(before_.used.touches(group1(1600, 1664)));
        debugfs(fmt::format("{}\njw -b {} {}\njc\n", open, bitmap_block_, bitmap_file("new", 200, 8)));
        const layout::UsedExtents used = look();
        ASSERT_FALSE(used.whole) << used.reason;
        EXPECT_EQ(used.note, "needs journal recovery; copied as it is");
        EXPECT_TRUE(used.used.contains(group1(1600, 1664)));
        EXPECT_EQ(used.used.total_bytes(), before_.used.total_bytes() + 64 * 1024);
    }
}

TEST_F(UnplayedJournal, EveryVersionOfABitmapCounts) {
    make();
    const std::string one = bitmap_file("one", 150, 2), two = bitmap_file("two", 160, 2),
                      open = bitmap_file("open", 170, 2);
    debugfs(fmt::format("jo\njw -b {0} {1}\njw -b {0} {2}\njw -c -b {0} {3}\njc\n", bitmap_block_, one, two,
                        open));
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole) << used.reason;
    for (std::uint64_t byte : {150u, 160u, 170u})
        EXPECT_TRUE(used.used.contains(group1(byte * 8, byte * 8 + 16)));
}

TEST_F(UnplayedJournal, ABitmapThatBeginsLikeAJournalBlockIsUnescaped) {
    make();
    bitmap_[0] = std::byte{0xC0};
    bitmap_[1] = std::byte{0x3B};
    bitmap_[2] = std::byte{0x39};
    bitmap_[3] = std::byte{0x98};
    MemoryDevice disk(load_file(image_));
    ExtEditor edit(disk.bytes()->content);
    std::fill_n(edit.block(bitmap_block_).begin(), 4,
                std::byte{0});  // so that only the journal has those bits
    write_file_atomic(image_, disk.bytes()->content, 0644, Code::kInternal);
    debugfs(fmt::format("jo\njw -b {} {}\njc\n", bitmap_block_, bitmap_file("new", 200, 1)));
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole) << used.reason;
    EXPECT_TRUE(used.used.contains(group1(24 + 3, 24 + 5)));  // 0x98: bits 3, 4 and 7
    EXPECT_TRUE(used.used.contains(group1(24 + 7, 24 + 8)));
}

TEST_F(UnplayedJournal, AnEmptyJournalChangesNothing) {
    make();
    debugfs("feature needs_recovery\n");
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole) << used.reason;
    EXPECT_EQ(used.used, before_.used);
}

TEST_F(UnplayedJournal, AResizeThatIsOnlyInTheJournalIsCopiedWhole) {
    make();
    MemoryDevice disk(load_file(image_));
    Bytes super(disk.bytes()->content.begin() + 1024, disk.bytes()->content.begin() + 2048);
    store_le<std::uint32_t>(super, 4, 6000);
    write_file_atomic(scratch_.file("super"), super, 0644, Code::kInternal);
    debugfs(fmt::format("jo\njw -b 1 {}\njc\n", scratch_.file("super")));
    const layout::UsedExtents used = look();
    EXPECT_TRUE(used.whole);
    EXPECT_NE(used.reason.find("was being resized"), std::string::npos) << used.reason;
}

TEST_F(UnplayedJournal, AJournalThatCannotBeFollowedIsCopiedWhole) {
    make();
    debugfs(fmt::format("jo\njw -b {} {}\njc\n", bitmap_block_, bitmap_file("new", 200, 8)));
    const std::uint64_t at = journal_at();
    const auto with = [&](std::size_t field, std::uint32_t value, const std::string& reason) {
        MemoryDevice disk(load_file(image_));
        store_le<std::uint32_t>(disk.bytes()->content, at + field, __builtin_bswap32(value));
        const layout::UsedExtents used = used_as(disk, "ext4");
        EXPECT_TRUE(used.whole) << reason;
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
    };
    with(0x00, 0x12345678, "no superblock");
    with(0x04, 1, "no superblock");
    with(0x0C, 4096, "claims blocks");
    with(0x10, 0xFFFFFFFF, "claims blocks");
    with(0x10, 0, "claims blocks");
    with(0x14, 0, "claims blocks");
    with(0x14, 0xFFFFFFFF, "claims blocks");
    with(0x1C, 0xFFFFFFFF, "claims blocks");
    with(0x20, 5, "stopped by an error (5)");
    with(0x28, 0x20, "feature 0x20");
    with(0x28, 0x80000000, "feature 0x80000000");
}

// Every block of the ring is a revoke block of the same transaction: the log bites its own tail.
TEST_F(UnplayedJournal, ALogWithoutAnEndIsNotFollowedForEver) {
    make();
    debugfs(fmt::format("jo\njw -b {} {}\njc\n", bitmap_block_, bitmap_file("new", 200, 8)));
    MemoryDevice disk(load_file(image_));
    auto& content = disk.bytes()->content;
    const std::uint64_t at = journal_at();
    const auto blocks = load_be<std::uint32_t>(content, at + 0x10);
    for (std::uint64_t block = 1; block < blocks; ++block) {
        const std::uint64_t header = at + block * 1024;  // the journal of a new filesystem lies in one piece
        store_le<std::uint32_t>(content, header, __builtin_bswap32(0xC03B3998));
        store_le<std::uint32_t>(content, header + 4, __builtin_bswap32(5));
        store_le<std::uint32_t>(content, header + 8,
                                __builtin_bswap32(load_be<std::uint32_t>(content, at + 0x18)));
    }
    const layout::UsedExtents used = used_as(disk, "ext4");
    EXPECT_TRUE(used.whole);
    EXPECT_NE(used.reason.find("has no end"), std::string::npos) << used.reason;
}

class FlippedJournal : public testing::TestWithParam<std::uint64_t> {};

TEST_P(FlippedJournal, IsFollowedOrCopiedWholeWithinBounds) {
    SeededRandom random(GetParam());
    const ScratchFolder scratch;
    const std::string image =
        make_ext(scratch, "image", kSize,
                 {"-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^metadata_csum,^uninit_bg"}, "");
    const auto clean = load_file(image);
    const std::uint64_t bitmap = ExtEditor(clean->content).bitmap_block(1);
    const Bytes copy(clean->content.begin() + static_cast<std::ptrdiff_t>(bitmap * 1024),
                     clean->content.begin() + static_cast<std::ptrdiff_t>((bitmap + 1) * 1024));
    write_file_atomic(scratch.file("bitmap"), copy, 0644, Code::kInternal);
    std::string commands = "jo\n";
    for (unsigned i = 0; i < 4; ++i)
        commands += fmt::format("jw -b {} {}\n", bitmap, scratch.file("bitmap"));
    must_run({"debugfs", "-w", "-f", "-", image}, {.input = commands + "jc\n", .extra_environment = {}});
    const std::uint64_t at = std::stoull(must_run({"debugfs", "-R", "bmap <8> 0", image})) * 1024;
    const auto table = load_le<std::uint32_t>(load_file(image)->content, 2048 + 8);
    const auto good = load_file(image);
    for (unsigned round = 0; round < 300; ++round) {
        auto bytes = std::make_shared<DiskBytes>(*good);
        for (std::uint64_t change = 1 + random.below(3); change != 0; --change) {
            // The journal's superblock and first blocks, or the inode that says where it lies.
            const std::uint64_t base =
                random.below(3) == 0 ? table * 1024 + 7 * 256 : at + random.below(14) * 1024;
            const std::uint64_t offset = base + random.below(64);
            bytes->content[offset] = std::byte(random.below(256));
        }
        const auto start = std::chrono::steady_clock::now();
        const layout::UsedExtents used = used_as(MemoryDevice(bytes), "ext4");
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << "round " << round;
        for (block::Extent extent : used.used)
            EXPECT_LE(extent.end, kSize);
        EXPECT_TRUE(used.whole == !used.reason.empty()) << "round " << round;
    }
}

INSTANTIATE_TEST_SUITE_P(Seed, FlippedJournal, testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace dupengine::test
