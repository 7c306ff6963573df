// Which sectors the real mkfs programs' filesystems can be used in.

#include "layout/sector_limit.h"

#include <gtest/gtest.h>

#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"

namespace dupengine::layout {
namespace {

using Kind = SectorLimit::Kind;
using test::must_run;

std::vector<SectorLimit> limits_of(const block::Reader& part, const std::string& type) {
    Signature signature;
    signature.type = type;
    return find_sector_limits(part, signature);
}

std::vector<SectorLimit> limits_after(std::vector<std::string> mkfs, std::uint64_t size_bytes) {
    const test::ScratchFolder folder;
    const std::string image = folder.sparse_file("image", size_bytes);
    mkfs.push_back(image);
    must_run(mkfs);
    const auto part = block::open_source(image);
    return find_sector_limits(*part, probe_signature(*part));
}

void expect_one(const std::vector<SectorLimit>& limits, Kind kind, std::uint64_t bytes) {
    ASSERT_EQ(limits.size(), 1u);
    EXPECT_EQ(limits[0].kind, kind);
    EXPECT_EQ(limits[0].bytes, bytes) << limits[0].what;
}

TEST(SectorLimit, IsTheSmallestUnitAFilesystemReadsIn) {
    expect_one(limits_after({"mke2fs", "-q", "-F", "-b", "1024"}, 8 * kMiB), Kind::kLargest, 1024);
    expect_one(limits_after({"mke2fs", "-q", "-F", "-b", "4096"}, 8 * kMiB), Kind::kLargest, 4096);
    expect_one(limits_after({"mkfs.xfs", "-q", "-s", "size=512"}, 320 * kMiB), Kind::kLargest, 512);
    expect_one(limits_after({"mkfs.xfs", "-q", "-s", "size=4096"}, 320 * kMiB), Kind::kLargest, 4096);
    expect_one(limits_after({"mkfs.btrfs", "-q"}, 128 * kMiB), Kind::kLargest, 4096);
    expect_one(limits_after({"mkfs.f2fs", "-q"}, 64 * kMiB), Kind::kLargest, 4096);
    expect_one(limits_after({"mkswap", "-q"}, 8 * kMiB), Kind::kLargest, 4096);
}

TEST(SectorLimit, IsExactForWhatSaysItsSectorsItself) {
    expect_one(limits_after({"mkfs.fat", "-S", "4096"}, 16 * kMiB), Kind::kExact, 4096);
    expect_one(limits_after({"mkfs.ntfs", "-q", "-F", "-f"}, 16 * kMiB), Kind::kExact, 512);
    expect_one(limits_after({"mkfs.exfat"}, 16 * kMiB), Kind::kExact, 512);
}

TEST(SectorLimit, AllowsNoUnknownContent) {
    EXPECT_FALSE(SectorLimit().allows(512));
    expect_one(limits_of(test::MemoryDevice(kMiB), "zfs_member"), Kind::kUnknown, 0);
}

test::MemoryDevice luks1(std::uint32_t payload_sectors) {
    auto bytes = std::make_shared<test::DiskBytes>(8 * kMiB);
    bytes->content[7] = std::byte{1};
    store_le<std::uint32_t>(bytes->content, 104, __builtin_bswap32(payload_sectors));
    return test::MemoryDevice(bytes);
}

TEST(SectorLimit, OfLuksIsWhereItsDataBegins) {
    expect_one({limits_of(luks1(4096), "crypto_LUKS").front()}, Kind::kLargest, 64 * kKiB);
    expect_one({limits_of(luks1(2056), "crypto_LUKS").front()}, Kind::kLargest, 4096);
    const auto limits = limits_of(luks1(2057), "crypto_LUKS");
    ASSERT_EQ(limits.size(), 2u);
    EXPECT_EQ(limits[0].bytes, 512u);
    EXPECT_EQ(limits[1].kind, Kind::kUnknown) << "what it encrypts was not looked at";
}

test::MemoryDevice luks2(std::string_view json) {
    auto bytes = std::make_shared<test::DiskBytes>(8 * kMiB);
    bytes->content[7] = std::byte{2};
    store_le<std::uint64_t>(bytes->content, 8, __builtin_bswap64(16 * kKiB));
    std::copy(as_bytes(json).begin(), as_bytes(json).end(), bytes->content.begin() + 4096);
    return test::MemoryDevice(bytes);
}

TEST(SectorLimit, OfLuks2IsInItsJson) {
    const auto limits =
        limits_of(luks2(R"({"segments":{"0":{"type":"crypt","offset":"16781312"}}})"), "crypto_LUKS");
    expect_one({limits.front()}, Kind::kLargest, 4096);
}

TEST(SectorLimit, AHostileLuksHeaderIsAnErrorOfTheDisk) {
    for (const char* json : {"", "{", "[]", "{}", R"({"segments":[]})", R"({"segments":{"0":1}})",
                             R"({"segments":{"0":{"offset":16}}})", R"({"segments":{"0":{"offset":"x"}}})",
                             R"({"segments":{"0":{"offset":"99999999999999999999"}}})"}) {
        try {
            limits_of(luks2(json), "crypto_LUKS");
            ADD_FAILURE() << json;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kIntegrity) << json;
        }
    }
}

TEST(SectorLimit, APartThatEndsBeforeItsSuperblockIsAnErrorOfTheDisk) {
    for (const char* type : {"ext4", "xfs", "btrfs", "vfat", "ntfs", "exfat", "crypto_LUKS"}) {
        try {
            limits_of(test::MemoryDevice(8), type);
            ADD_FAILURE() << type;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kIntegrity) << type;
        }
    }
}

}  // namespace
}  // namespace dupengine::layout
