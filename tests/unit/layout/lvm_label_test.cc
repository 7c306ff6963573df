// Physical volumes of LVM with labels and metadata areas made here: what contradicts itself is copied whole.

#include "layout/lvm_label.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "layout/used_extents.h"
#include "tests/support/fake_devices.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using test::MemoryDevice;

constexpr std::uint64_t kSize = 4 * kMiB, kSector = 512;
constexpr Extent kFirstArea{4 * kKiB, 128 * kKiB}, kLastArea{kSize - 128 * kKiB, kSize},
    kBootArea{256 * kKiB, 512 * kKiB};
constexpr std::string_view kId = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

std::uint32_t lvm_crc(std::span<const std::byte> bytes) {
    std::uint32_t crc = 0xf597a6cf;
    for (std::byte b : bytes) {
        crc ^= std::to_integer<std::uint32_t>(b);
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
    }
    return crc;
}

void put_text(std::span<std::byte> bytes, std::size_t at, std::string_view text) {
    std::copy_n(as_bytes(text).begin(), text.size(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

struct Made {
    std::uint64_t first_extent = kMiB, extents = 40, sequence = 5;
    std::uint64_t sequence_of_last_area = 0;  ///< 0: there is none
    bool boot_area = false;
};

// A group without volumes: all of its extents of 64 KiB are free.
std::string group_of(const Made& made, std::uint64_t sequence) {
    return fmt::format(
        "vg0 {{\nid = \"BBBBBB-BBBB-BBBB-BBBB-BBBB-BBBB-BBBBBB\"\nseqno = {}\nextent_size = 128\n"
        "physical_volumes {{\npv0 {{\nid = \"AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\npe_start = {}\n"
        "pe_count = {}\n}}\n}}\n}}\n",
        sequence, made.first_extent / kSector, made.extents);
}

void put_area(Bytes& disk, Extent area, const std::string& text) {
    const auto header = std::span(disk).subspan(area.begin, kSector);
    put_text(header, 4, " LVM2 x[5A%r0N*>");
    store_le<std::uint32_t>(header, 20, 1);
    store_le<std::uint64_t>(header, 24, area.begin);
    store_le<std::uint64_t>(header, 32, area.size());
    store_le<std::uint64_t>(header, 40, kSector);
    store_le<std::uint64_t>(header, 48, text.size());
    store_le<std::uint32_t>(header, 56, lvm_crc(as_bytes(text)));
    store_le<std::uint32_t>(header, 0, lvm_crc(header.subspan(4)));
    put_text(disk, area.begin + kSector, text);
}

UsedExtents look_at(const Made& made) {
    auto bytes = std::make_shared<test::DiskBytes>(kSize);
    Bytes& disk = bytes->content;
    put_area(disk, kFirstArea, group_of(made, made.sequence));
    if (made.sequence_of_last_area != 0)
        put_area(disk, kLastArea, group_of(made, made.sequence_of_last_area));
    const auto label = std::span(disk).subspan(kSector, kSector);
    std::size_t at = 32 + kId.size() + 8;
    const auto put_extent = [&](Extent e) {
        store_le<std::uint64_t>(label, at, e.begin);
        store_le<std::uint64_t>(label, at + 8, e.size());
        at += 16;
    };
    put_extent({kMiB, kMiB});  // the extents, to the end; the metadata is what counts
    put_extent({});
    put_extent(kFirstArea);
    if (made.sequence_of_last_area != 0) put_extent(kLastArea);
    put_extent({});
    store_le<std::uint32_t>(label, at, 2);  // version, and flags
    at += 8;
    if (made.boot_area) put_extent(kBootArea);
    put_text(label, 0, "LABELONE");
    store_le<std::uint64_t>(label, 8, 1);
    store_le<std::uint32_t>(label, 20, 32);
    put_text(label, 24, "LVM2 001");
    put_text(label, 32, kId);
    store_le<std::uint32_t>(label, 16, lvm_crc(label.subspan(20)));
    const MemoryDevice device(bytes);
    const block::Reader* part = &device;
    return lvm_used_extents({&part, 1}, Unreadable::kThrow).front();
}

void expect_whole(const Made& made, const std::string& reason) {
    const UsedExtents used = look_at(made);
    EXPECT_TRUE(used.whole) << reason;
    EXPECT_NE(used.reason.find(reason), std::string::npos) << used.reason;
    EXPECT_EQ(used.used, block::ExtentSet({{0, kSize}}));
}

TEST(LvmLabel, FreeExtentsAreNotUsedAndAllElseIs) {
    const UsedExtents used = look_at({});
    ASSERT_FALSE(used.whole) << used.reason;
    EXPECT_EQ(used.used, block::ExtentSet({{0, kMiB}, {kMiB + 40 * 64 * kKiB, kSize}}));
    EXPECT_FALSE(look_at({.boot_area = true}).whole);
}

// Else the copy would be no physical volume at all.
TEST(LvmLabel, ExtentsOverItsOwnStructuresAreNotBelieved) {
    for (const std::uint64_t first : {std::uint64_t{0}, kSector, 64 * kKiB, 128 * kKiB - kSector})
        expect_whole({.first_extent = first}, "its extents lie over a physical volume's own structures");
    EXPECT_FALSE(look_at({.first_extent = 128 * kKiB}).whole);
    expect_whole({.first_extent = 128 * kKiB, .boot_area = true}, "own structures");
    expect_whole({.first_extent = kMiB, .extents = 47, .sequence_of_last_area = 5}, "own structures");
}

// LVM takes the newer one, whose volumes may lie in what the older one calls free.
TEST(LvmLabel, MetadataAreasThatDisagreeAreNotBelieved) {
    EXPECT_FALSE(look_at({.sequence_of_last_area = 5}).whole);
    for (const std::uint64_t other : {4, 6})
        expect_whole({.sequence_of_last_area = other}, "group vg0: the copies of its metadata disagree");
}

}  // namespace
}  // namespace dupengine::layout
