// NTFS by the real mkntfs and ntfscp: a copy of the used extents alone must be the same volume, and what
// cannot be trusted is copied whole.

#include <gtest/gtest.h>

#include "base/fd.h"
#include "base/random.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"
#include "tests/support/ntfs_editor.h"

namespace dupengine::test {
namespace {

struct Variant {
    const char* name;
    std::uint64_t size_kib;
    std::vector<std::string> arguments;
    std::uint64_t cluster_bytes;
};

void PrintTo(const Variant& variant, std::ostream* out) {
    *out << variant.name;
}

class NtfsVariant : public testing::TestWithParam<Variant> {};

std::uint64_t free_clusters(const std::string& image) {
    const std::string text = must_run({"ntfsinfo", "-m", image}), field = "Free Clusters: ";
    const std::size_t at = text.find(field);
    if (at == std::string::npos) throw_error(Code::kInternal, "ntfsinfo counts no free clusters");
    return std::stoull(text.substr(at + field.size()));
}

TEST_P(NtfsVariant, UsedExtentsHoldEveryFileAndNoFreeCluster) {
    const ScratchFolder scratch;
    const std::string image = make_ntfs(scratch, "image", GetParam().size_kib * kKiB, GetParam().arguments);
    for (unsigned i = 0; i < 6; ++i) {
        Bytes content(1 + i * i * 9000);
        fill_pattern(content, i);
        write_file_atomic(scratch.file(fmt::format("file{}", i)), content, 0644, Code::kInternal);
        must_run({"ntfscp", "-q", image, scratch.file(fmt::format("file{}", i)), fmt::format("/file{}", i)});
    }
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "ntfs");
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_EQ(look.used.note, "");
    const std::uint64_t cluster = GetParam().cluster_bytes, size = GetParam().size_kib * kKiB;
    EXPECT_EQ(look.used.filesystem_bytes, size);
    EXPECT_EQ(look.used.used.total_bytes(), size - free_clusters(image) * cluster);

    rebuild(image, look.used, std::byte{0xA5}, scratch.file("copy"));
    EXPECT_EQ(run_program({"ntfsfix", "--no-action", scratch.file("copy")}).status, 0);
    must_run({"ntfsresize", "--info", "--force", "--no-progress-bar", scratch.file("copy")});
    for (unsigned i = 0; i < 6; ++i) {
        const std::string name = fmt::format("file{}", i);
        EXPECT_EQ(must_run({"ntfscat", scratch.file("copy"), name}),
                  read_file(scratch.file(name), Code::kInternal));
    }
}

const Variant kVariants[] = {
    {"usual", 40 * 1024, {}, 4096},
    {"smallest_clusters", 24 * 1024, {"-c", "512"}, 512},
    {"clusters_of_64K", 96 * 1024, {"-c", "65536"}, 65536},
    {"clusters_above_64K_have_a_negative_shift", 96 * 1024, {"-c", "131072"}, 131072},
    {"sectors_of_1K", 40 * 1024, {"-s", "1024"}, 4096},
};

INSTANTIATE_TEST_SUITE_P(Made, NtfsVariant, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

// A small volume in memory, to be damaged.
class DamagedNtfs : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 24 * kMiB;
    DamagedNtfs() {
        image_ = make_ntfs(scratch_, "image", kSize, {"-c", "1024"});
        reset();
    }
    void reset() { disk_ = std::make_unique<MemoryDevice>(load_file(image_)); }
    std::span<std::byte> bytes() { return disk_->bytes()->content; }
    NtfsEditor edit() { return NtfsEditor(disk_->bytes()->content); }
    layout::UsedExtents look() { return used_as(*disk_, "ntfs"); }
    void expect_whole(const std::string& reason) {
        const layout::UsedExtents used = look();
        EXPECT_TRUE(used.whole) << reason;
        EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
        EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
        reset();
    }
    ScratchFolder scratch_;
    std::string image_;
    std::unique_ptr<MemoryDevice> disk_;
};

TEST_F(DamagedNtfs, ImpossibleBootSectorsAreCopiedWhole) {
    const auto put8 = [&](std::size_t at, unsigned value) { bytes()[at] = static_cast<std::byte>(value); };
    const auto put64 = [&](std::size_t at, std::uint64_t value) {
        store_le<std::uint64_t>(bytes(), at, value);
    };
    EXPECT_FALSE(look().whole) << look().reason;
    put8(510, 0), expect_whole("boot signature");
    put8(3, 'M'), expect_whole("not of NTFS");
    put8(11, 1), expect_whole("513 bytes a sector");
    put8(13, 3), expect_whole("3 sectors a cluster");
    put8(13, 0xF2), expect_whole("0xf2 sectors a cluster");
    put8(13, 0), expect_whole("0 sectors a cluster");
    put8(16, 2), expect_whole("belong to FAT");
    put8(64, 0), expect_whole("file records of size 0x0");
    put8(64, 0xE0), expect_whole("file records of size 0xe0");
    put8(68, 0x83), expect_whole("index blocks of size 0x83");
    put64(40, 0), expect_whole("covers 0 sectors");
    put64(40, kSize / 512), expect_whole("covers 49152 sectors");
    put64(40, ~std::uint64_t{0}), expect_whole("covers 18446744073709551615 sectors");
    put64(40, kSize / 512 - 4), expect_whole("confirm its size");
    put64(48, kSize), expect_whole("master file table at cluster 25165824");
    put64(56, 0), expect_whole("its mirror at 0");
    put64(48, 2), put64(kSize - 512 + 48, 2), expect_whole("file record 0: no FILE");
}

TEST_F(DamagedNtfs, WithoutTheCopyOfItsBootSectorItsSizeIsConfirmedByItsBadClusters) {
    const layout::UsedExtents before = look();
    bytes()[kSize - 512 + 40] ^= std::byte{1};
    EXPECT_EQ(look().used, before.used);
    EXPECT_NE(look().note.find("no copy of its boot sector"), std::string::npos) << look().note;
    store_le<std::uint64_t>(bytes(), edit().attribute_at(8, 0x80, "$Bad") + 48, kSize);
    expect_whole("confirm its size");
}

TEST(ResizedNtfs, IsReadAlthoughTheCopyOfItsBootSectorStaysWhereItWas) {
    const ScratchFolder scratch;
    const std::string image = make_ntfs(scratch, "image", 48 * kMiB, {});
    must_run({"ntfsresize", "--force", "--force", "--no-progress-bar", "--size", "30M", image});
    must_run({"ntfsfix", "--clear-dirty", image});
    const Look look = look_at(image);
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    EXPECT_LT(look.used.filesystem_bytes, 31 * kMiB);
    rebuild(image, look.used, std::byte{0xA5}, scratch.file("copy"));
    must_run({"ntfsresize", "--info", "--force", "--no-progress-bar", scratch.file("copy")});
}

TEST_F(DamagedNtfs, APartitionThatIsOneSectorTooSmallIsCopiedWhole) {
    disk_->bytes()->content.resize(kSize - 512);
    disk_ = std::make_unique<MemoryDevice>(disk_->bytes());
    EXPECT_TRUE(look().whole);
    EXPECT_NE(look().reason.find("covers 49151 sectors"), std::string::npos) << look().reason;
}

TEST_F(DamagedNtfs, WhatLiesBehindTheVolumeIsCopiedToo) {
    const std::uint64_t before = look().used.total_bytes();
    disk_->bytes()->content.resize(kSize + 512);
    disk_ = std::make_unique<MemoryDevice>(disk_->bytes());
    EXPECT_FALSE(look().whole) << look().reason;
    EXPECT_EQ(look().used.total_bytes(), before + 512);
    EXPECT_EQ(look().filesystem_bytes, kSize);
}

TEST_F(DamagedNtfs, ATornFileRecordIsNoticed) {
    bytes()[edit().record_at(6) + 510] ^= std::byte{1};
    expect_whole("file record 6: FILE was written only in part");
}

TEST_F(DamagedNtfs, AVolumeThatWasNotClosedIsCopiedWhole) {
    edit().set_volume_flags(0x0001);
    expect_whole("not cleanly unmounted");
    edit().set_volume_flags(0x4000);
    expect_whole("chkdsk");
    edit().set_volume_flags(0x0100);
    expect_whole("unknown volume flags 0x100");
    edit().set_volume_flags(0x8000);
    EXPECT_FALSE(look().whole) << look().reason;
    edit().set_version(3, 2);
    expect_whole("version 3.2");
}

TEST_F(DamagedNtfs, TheLogDecidesWhetherItWasClosed) {
    edit().put_restart_page(0, {.lsn = 10, .client = 0xFFFF, .flags = 0});
    EXPECT_FALSE(look().whole) << look().reason;
    edit().put_restart_page(1, {.lsn = 12, .client = 0, .flags = 0});
    expect_whole("its log was not closed");
    edit().put_restart_page(0, {.lsn = 14, .client = 0, .flags = 2});  // Windows XP and later
    edit().put_restart_page(1, {.lsn = 12, .client = 0, .flags = 0});
    EXPECT_FALSE(look().whole) << look().reason;
    edit().put_restart_page(0, {.lsn = 10, .client = 0, .flags = 2});
    expect_whole("its log was not closed");
    const ByteOffset log = edit().first_byte_of(2);
    bytes()[log] = bytes()[log + 4096] = std::byte{0};
    expect_whole("no restart page");
}

TEST_F(DamagedNtfs, AHibernatedWindowsIsCopiedWhole) {
    const auto with = [&](const std::string& header, std::size_t size) {
        const std::string image = make_ntfs(scratch_, "hibernated", kSize, {"-c", "1024"});
        Bytes content(size);
        std::copy_n(as_bytes(header).begin(), header.size(), content.begin());
        write_file_atomic(scratch_.file("hiberfil"), content, 0644, Code::kInternal);
        must_run({"ntfscp", "-q", image, scratch_.file("hiberfil"), "/HiberFil.sys"});
        disk_ = std::make_unique<MemoryDevice>(load_file(image));
    };
    for (const char* magic : {"hibr", "HIBR", "rstr"}) {
        with(magic, 20000);
        expect_whole("Windows is hibernated on it (hiberfil.sys)");
    }
    with("x", 100);
    expect_whole("Windows is hibernated on it");
    with("wake", 20000);
    EXPECT_FALSE(look().whole) << look().reason;
    with("", 20000);
    EXPECT_FALSE(look().whole) << look().reason;
}

TEST_F(DamagedNtfs, ABitmapThatCallsClustersOfTheVolumeFreeIsNotBelieved) {
    edit().mark_free(edit().first_byte_of(0) / 1024);
    expect_whole("file record 0 uses");
    edit().mark_free(edit().first_byte_of(1) / 1024);
    expect_whole("file record 1 uses");
    edit().mark_free(edit().first_byte_of(9, 0x80, "$SDS") / 1024);
    expect_whole("file record 9 uses");
    // Windows closed it: then only its own files are looked at.
    edit().put_restart_page(0, {.lsn = 10, .client = 0xFFFF, .flags = 0});
    edit().mark_free(edit().first_byte_of(9, 0x80, "$SDS") / 1024);
    EXPECT_FALSE(look().whole) << look().reason;
}

TEST_F(DamagedNtfs, AFragmentedBitmapIsReadThroughItsAttributeList) {
    const block::ExtentSet before = look().used;
    const block::Extent moved = edit().split_bitmap();
    const layout::UsedExtents used = look();
    ASSERT_FALSE(used.whole) << used.reason;
    block::ExtentSet expected = before;
    expected.insert(moved);
    EXPECT_EQ(used.used, expected);
    // The second piece in a record that belongs to another file.
    store_le<std::uint64_t>(bytes(), edit().record_at(NtfsEditor::kExtension) + 32, 5);
    expect_whole("file record 16 does not continue record 6");
    edit().split_bitmap();
    bytes()[edit().record_at(NtfsEditor::kExtension) + 22] = std::byte{0};  // not in use
    expect_whole("file record 16 does not continue record 6");
}

TEST_F(DamagedNtfs, ACompressedOrSparseBitmapIsRefused) {
    for (unsigned flags : {0x0001u, 0x4000u, 0x8000u}) {
        store_le<std::uint16_t>(bytes(), edit().attribute_at(6, 0x80) + 12,
                                static_cast<std::uint16_t>(flags));
        expect_whole("a stream of file record 6 is compressed");
    }
}

TEST_F(DamagedNtfs, ImpossibleDataRunsAreNoticed) {
    const auto runs = [&](std::vector<unsigned> values, const std::string& reason) {
        const std::size_t at = edit().attribute_at(6, 0x80),
                          begin = at + load_le<std::uint16_t>(bytes(), at + 32);
        for (std::size_t i = 0; i < values.size(); ++i)
            bytes()[begin + i] = static_cast<std::byte>(values[i]);
        expect_whole(reason);
    };
    runs({0x10, 5}, "header 0x10");
    runs({0x19}, "header 0x19");
    runs({0x91}, "header 0x91");
    runs({0x11, 0xFF, 5}, "a data run of -1 clusters");
    runs({0x11, 0x03, 0x80}, "outside the volume");
    runs({0x41, 0x03, 0xFF, 0xFF, 0xFF, 0x7F, 0}, "outside the volume");
    runs({0x11, 0x01, 0x05, 0}, "data runs of 1 clusters where 3 were promised");
    runs({0x01, 0x03, 0}, "has holes");
}

TEST_F(DamagedNtfs, AReadErrorIsAnErrorAndNotAReasonToCopyWhole) {
    const ByteOffset bitmap = edit().first_byte_of(6);
    disk_->set_interceptor([=](std::size_t, const Call& call) {
        if (call.extent.begin == bitmap) throw_error(Code::kSourceIo, "EIO");
    });
    EXPECT_THROW(look(), Error);
}

// Bits flipped anywhere in the structures: no crash, no hang, and whatever is still believed loses nothing.
class FlippedNtfs : public testing::TestWithParam<std::uint64_t> {};

TEST_P(FlippedNtfs, IsCopiedWholeOrLosesNothing) {
    const ScratchFolder scratch;
    const std::string image = make_ntfs(scratch, "image", 24 * kMiB, {"-c", "1024"});
    const MemoryDevice disk(load_file(image));
    Bytes& content = disk.bytes()->content;
    const block::ExtentSet wanted = used_as(disk, "ntfs").used;
    const NtfsEditor original(content);
    const ByteOffset places[] = {0,
                                 original.record_at(0),
                                 original.record_at(2),
                                 original.record_at(3),
                                 original.record_at(5),
                                 original.record_at(6),
                                 original.record_at(9),
                                 original.first_byte_of(2),
                                 original.first_byte_of(6)};
    SeededRandom random(GetParam());
    unsigned read = 0;
    for (unsigned round = 0; round < 250; ++round) {
        std::vector<std::pair<ByteOffset, std::byte>> flips;
        for (std::uint64_t change = 1 + random.below(2); change != 0; --change)
            flips.emplace_back(places[random.below(std::size(places))] + random.below(512),
                               static_cast<std::byte>(1u << random.below(8)));
        for (const auto& [at, bits] : flips)
            content[at] ^= bits;
        const layout::UsedExtents used = used_as(disk, "ntfs");
        for (const auto& [at, bits] : flips)
            content[at] ^= bits;
        EXPECT_TRUE(used.whole == !used.reason.empty()) << "round " << round;
        for (block::Extent extent : wanted)
            EXPECT_TRUE(used.used.contains(extent)) << "seed " << GetParam() << ", round " << round;
        read += used.whole ? 0 : 1;
    }
    EXPECT_GT(read, 5u);    // the flips leave some volumes readable
    EXPECT_LT(read, 245u);  // and are noticed in others
}

INSTANTIATE_TEST_SUITE_P(Seed, FlippedNtfs, testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace dupengine::test
