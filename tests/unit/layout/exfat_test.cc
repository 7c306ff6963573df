// exFAT by the real mkfs.exfat: what dump.exfat counts, fsck.exfat of a copy, and damage of every structure
// that the reader looks at. tests/system/exfat_test.cc has those with files.

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

struct Variant {
    const char* name;
    std::uint64_t size_kib;
    std::vector<std::string> arguments;
};

void PrintTo(const Variant& variant, std::ostream* out) {
    *out << variant.name;
}

std::string make_exfat(const ScratchFolder& scratch, std::uint64_t size_kib,
                       const std::vector<std::string>& arguments) {
    const std::string image = scratch.sparse_file("image", size_kib * kKiB);
    std::vector<std::string> argv = {"mkfs.exfat", "-L", "A LABEL"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

// A number that dump.exfat prints.
std::uint64_t dumped(const std::string& image, const std::string& words) {
    const std::string text = must_run({"dump.exfat", image});
    const std::size_t at = text.find(words);
    if (at == std::string::npos) throw_error(Code::kInternal, "dump.exfat says nothing of {}", words);
    return std::stoull(text.substr(text.find_first_of("0123456789", at + words.size())));
}

class ExfatVariant : public testing::TestWithParam<Variant> {};

TEST_P(ExfatVariant, UsedIsWhatTheBitmapSaysAndACopyOfItIsSound) {
    const ScratchFolder scratch;
    const std::string image = make_exfat(scratch, GetParam().size_kib, GetParam().arguments);
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "exfat");
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    EXPECT_EQ(look.used.filesystem_bytes, GetParam().size_kib * kKiB);
    const std::uint64_t used_clusters = dumped(image, "Total Clusters:") - dumped(image, "Free Clusters:");
    EXPECT_EQ(look.used.used.total_bytes(), dumped(image, "Cluster Heap Offset (sector offset):") * 512 +
                                                used_clusters * dumped(image, "Cluster size:"));
    rebuild(image, look.used, std::byte{0xA5}, scratch.file("copy"));
    const RunResult check = run_program({"fsck.exfat", "-n", scratch.file("copy")});
    EXPECT_EQ(check.status, 0) << check.out << check.complaint();
    EXPECT_EQ(look_at(scratch.file("copy")).used.used, look.used.used);
}

const Variant kVariants[] = {
    {"as_mkfs_makes_it", 64 * 1024, {}},
    {"larger", 600 * 1024, {}},
    {"clusters_of_one_sector", 32 * 1024, {"-c", "512"}},
    {"clusters_of_1M", 256 * 1024, {"-c", "1M"}},
    {"clusters_of_32M", 1024 * 1024, {"-c", "32M"}},
    {"a_bitmap_packed_to_the_fat", 64 * 1024, {"--pack-bitmap"}},
    {"small_boundaries", 8 * 1024, {"-b", "16K"}},
};

INSTANTIATE_TEST_SUITE_P(Made, ExfatVariant, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

// Sectors and clusters of 512 bytes, so that the bitmap has several clusters.
class DamagedExfat : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 32 * kMiB, kSector = 512;

    void SetUp() override {
        const ScratchFolder scratch;
        good_ = load_file(make_exfat(scratch, kSize / kKiB, {"-c", "512"}));
        renew();
        fat_ = u32(80) * kSector;
        heap_ = u32(88) * kSector;
        root_ = u32(96);
        for (ByteOffset entry = of(root_); bitmap_ == 0 && entry < of(root_) + kSector; entry += 32)
            if (at(entry, 1)[0] == std::byte{0x81}) bitmap_entry_ = entry, bitmap_ = u32(entry + 20);
        ASSERT_NE(bitmap_, 0u);
    }
    void renew() { disk_ = std::make_unique<MemoryDevice>(std::make_shared<DiskBytes>(*good_)); }
    std::span<std::byte> at(ByteOffset offset, std::size_t size) {
        return std::span(disk_->bytes()->content).subspan(offset, size);
    }
    std::uint32_t u32(ByteOffset offset) { return load_le<std::uint32_t>(at(offset, 4), 0); }
    void put32(ByteOffset offset, std::uint32_t value) { store_le<std::uint32_t>(at(offset, 4), 0, value); }
    ByteOffset of(std::uint32_t cluster) const { return heap_ + (cluster - 2ull) * kSector; }
    ByteOffset entry_of(std::uint32_t cluster) const { return fat_ + cluster * 4ull; }
    // The bitmap lies in one piece, unless a test moved it.
    void allocate(std::uint32_t cluster) {
        at(of(bitmap_) + (cluster - 2) / 8, 1)[0] |= static_cast<std::byte>(1u << (cluster - 2) % 8);
    }
    void seal() {
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < 11 * kSector; ++i)
            if (i != 106 && i != 107 && i != 112)
                sum = (sum << 31 | sum >> 1) + std::to_integer<std::uint32_t>(at(i, 1)[0]);
        for (std::size_t i = 0; i < kSector; i += 4)
            put32(11 * kSector + i, sum);
    }
    layout::UsedExtents look() { return used_as(*disk_, "exfat"); }
    void expect_whole(const std::string& reason) {
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole) << reason;
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
        renew();
    }
    ByteOffset fat_ = 0, heap_ = 0, bitmap_entry_ = 0;
    std::uint32_t root_ = 0, bitmap_ = 0;
    std::shared_ptr<DiskBytes> good_;
    std::unique_ptr<MemoryDevice> disk_;
};

TEST_F(DamagedExfat, ImpossibleBootSectorsAreCopiedWhole) {
    ASSERT_FALSE(look().whole) << look().reason;
    const auto byte = [&](std::size_t field, unsigned value, const std::string& reason) {
        at(field, 1)[0] = static_cast<std::byte>(value);
        seal();
        expect_whole(reason);
    };
    const auto word = [&](std::size_t field, std::uint32_t value, const std::string& reason) {
        put32(field, value);
        seal();
        expect_whole(reason);
    };
    byte(3, 'X', "no boot sector");
    byte(11, 2, "no boot sector");  // a FAT would have its sector size here
    byte(510, 0, "no boot sector");
    byte(105, 2, "revision 2.0 is not known");
    byte(106, 1, "TexFAT");
    byte(106, 2, "not unmounted cleanly");
    byte(108, 8, "sectors of 2^8 bytes");
    byte(108, 13, "sectors of 2^13 bytes");
    byte(109, 17, "clusters of 2^17 sectors");
    byte(110, 2, "it has 2 FATs");
    byte(110, 0, "it has 0 FATs");
    word(72, kSize / kSector + 1, "the partition has");
    word(76, 0xFFFFFFFF, "number too large");
    word(80, 23, "a FAT of");
    word(80, 0xFFFFFFFF, "a FAT of");
    word(84, 1, "a FAT of 512 bytes");
    word(84, 0xFFFFFFFF, "a FAT of");
    word(88, 24, "a FAT of");
    word(88, 0xFFFFFFFF, "a FAT of");
    word(92, 0, "0 clusters");
    word(92, u32(92) + 1, "clusters at");
    word(92, 0xFFFFFFFF, "4294967295 clusters");
    word(96, 0, "the root directory goes on at cluster 0x0");
    word(96, 1, "the root directory goes on at cluster 0x1");
    word(96, u32(92) + 2, "the root directory goes on at cluster");
    at(200, 1)[0] ^= std::byte{1};
    expect_whole("does not match its checksum");
    at(11 * kSector + 200, 1)[0] ^= std::byte{1};
    expect_whole("does not match its checksum");
}

TEST_F(DamagedExfat, ABitmapThatCannotBeOneIsCopiedWhole) {
    at(bitmap_entry_, 1)[0] = std::byte{0x01};  // an entry no longer in use
    expect_whole("names no allocation bitmap");
    at(of(root_), 1)[0] = std::byte{0};
    expect_whole("names no allocation bitmap");
    at(bitmap_entry_ + 1, 1)[0] = std::byte{1};
    expect_whole("its first allocation bitmap is the second");
    std::copy_n(at(bitmap_entry_, 32).begin(), 32, at(bitmap_entry_ + 32, 32).begin());
    expect_whole("two allocation bitmaps");
    put32(bitmap_entry_ + 20, 0);
    expect_whole("the allocation bitmap goes on at cluster 0x0");
    put32(bitmap_entry_ + 20, bitmap_ + 1);
    expect_whole("the allocation bitmap ends after");
    put32(bitmap_entry_ + 24, u32(bitmap_entry_ + 24) - 1);
    expect_whole("an allocation bitmap of");
    put32(bitmap_entry_ + 28, 1);
    expect_whole("an allocation bitmap of");
    put32(entry_of(bitmap_), 0);
    expect_whole("the allocation bitmap goes on at cluster 0x0");
    put32(entry_of(bitmap_), 0xFFFFFFF7);
    expect_whole("the allocation bitmap goes on at cluster 0xfffffff7");
    put32(entry_of(bitmap_), bitmap_);
    expect_whole("the allocation bitmap goes on after");
    at(of(bitmap_), 1)[0] &= std::byte{0xFE};
    expect_whole("calls free where it lies itself");
    put32(entry_of(root_), root_);
    for (ByteOffset entry = of(root_); entry < of(root_) + kSector; entry += 32)
        at(entry, 1)[0] = std::byte{1};  // no end, and no bitmap
    expect_whole("the root directory has no end");
}

TEST_F(DamagedExfat, AllocatedClustersAreCopiedAndTheLastOneToo) {
    const std::uint64_t before = look().used.total_bytes();
    const std::uint32_t last = u32(92) + 1;
    for (std::uint32_t cluster : {1000u, 1001u, 5000u, last})
        allocate(cluster);
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole) << used.reason;
    EXPECT_EQ(used.used.total_bytes(), before + 4 * kSector);
    EXPECT_TRUE(used.used.contains({of(1000), of(1002)}));
    EXPECT_TRUE(used.used.contains({of(5000), of(5001)}));
    EXPECT_TRUE(used.used.contains({of(last), of(last + 1)}));
}

TEST_F(DamagedExfat, ABitmapInPiecesIsFollowedThroughTheFat) {
    // The second cluster of the bitmap goes to 3000; what was its place then calls everything free.
    const std::uint32_t second = bitmap_ + 1, third = bitmap_ + 2;
    const std::uint32_t marked = 2 + 512 * 8 + 100;  // its bit lies in the second cluster
    allocate(3000);
    allocate(marked);
    ASSERT_EQ(u32(entry_of(bitmap_)), second);
    std::copy_n(at(of(second), kSector).begin(), kSector, at(of(3000), kSector).begin());
    std::fill_n(at(of(second), kSector).begin(), kSector, std::byte{0});
    put32(entry_of(bitmap_), 3000);
    put32(entry_of(3000), third);
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole) << used.reason;
    EXPECT_TRUE(used.used.contains({of(marked), of(marked + 1)}));
    EXPECT_TRUE(used.used.contains({of(3000), of(3001)}));
}

TEST_F(DamagedExfat, AMediaFailureIsANote) {
    at(106, 1)[0] = std::byte{4};
    EXPECT_FALSE(look().whole);
    EXPECT_EQ(look().note, "a driver met disk errors on it; copied as it is");
}

// Also with the checksum put right again: found extents or the whole, and what is found lies within.
TEST_F(DamagedExfat, FlippedBytesAreSurvived) {
    SeededRandom random(5);
    const std::uint64_t used = look().used.total_bytes();
    for (unsigned i = 0; i < 4000; ++i) {
        const ByteOffset places[] = {0, 64, fat_, of(root_), of(bitmap_)};
        const std::uint64_t place = random.below(5);
        const ByteOffset flip = places[place] + random.below(place == 1 ? 56 : kSector);
        at(flip, 1)[0] ^= static_cast<std::byte>(1 + random.below(255));
        if (place == 1) seal();
        const layout::UsedExtents found = look();
        EXPECT_EQ(found.whole, !found.reason.empty());
        if (place == 0 && flip != 106 && flip != 107 && flip != 112) {
            EXPECT_TRUE(found.whole) << "byte " << flip;
        }
        // One byte of the bitmap holds eight clusters; elsewhere nothing may get lost.
        if (place != 4 && place != 1) {
            EXPECT_GE(found.used.total_bytes(), used) << "seed 5, step " << i << ", byte " << flip;
        }
        at(flip, 1)[0] = good_->content[flip];
        if (place == 1) seal();
    }
    EXPECT_EQ(look().used.total_bytes(), used);
}

TEST_F(DamagedExfat, APartitionThatIsOneSectorShortIsCopiedWholeAndALongerOneIsNot) {
    disk_->bytes()->content.resize(kSize - kSector);
    EXPECT_TRUE(used_as(MemoryDevice(disk_->bytes()), "exfat").whole);
    disk_->bytes()->content.resize(kSize + kSector);
    EXPECT_FALSE(used_as(MemoryDevice(disk_->bytes()), "exfat").whole);
    for (const std::uint64_t size : {0u, 1u, 511u, 512u, 4096u})
        EXPECT_TRUE(used_as(MemoryDevice(size), "exfat").whole);
}

TEST_F(DamagedExfat, AReadErrorIsAnErrorAndNotAReasonToCopyWhole) {
    disk_->set_interceptor([this](std::size_t, const Call& call) {
        if (call.extent.begin == of(bitmap_)) throw_error(Code::kSourceIo, "EIO");
    });
    EXPECT_THROW(look(), Error);
}

}  // namespace
}  // namespace dupengine::test
