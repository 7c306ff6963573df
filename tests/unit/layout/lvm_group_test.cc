// Volume groups as LVM writes them down, and the bytes of their volumes.

#include "layout/lvm_group.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>

#include "base/random.h"
#include "layout/lvm_volume.h"
#include "tests/support/fake_devices.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using block::ExtentSet;
using test::MemoryDevice;

constexpr std::uint64_t kExtent = 64 * kKiB, kFirst = 16 * kKiB;

// A group of three physical volumes of 16 extents with these logical volumes.
std::string group_text(const std::string& volumes) {
    std::string physical;
    for (int i = 0; i < 3; ++i)
        physical += fmt::format(
            "pv{} {{\nid = \"AAAAA{}-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\npe_start = {}\npe_count = 16\n}}\n",
            i, i, kFirst / 512);
    return fmt::format(
        "vg0 {{\nid = \"BBBBBB-BBBB-BBBB-BBBB-BBBB-BBBB-BBBBBB\"\nseqno = 7\nextent_size = {}\n"
        "physical_volumes {{\n{}}}\nlogical_volumes {{\n{}}}\n}}\n",
        kExtent / 512, physical, volumes);
}

std::string volume_text(const std::string& name, const std::vector<std::string>& segments,
                        const std::string& status = "\"READ\", \"VISIBLE\"") {
    std::string text =
        fmt::format("{} {{\nstatus = [{}]\nsegment_count = {}\n", name, status, segments.size());
    for (std::size_t i = 0; i < segments.size(); ++i)
        text += fmt::format("segment{} {{\n{}\n}}\n", i + 1, segments[i]);
    return text + "}\n";
}

std::string segment_text(unsigned start, unsigned count, const std::string& stripes, unsigned stripe_kib = 0,
                         const std::string& type = "striped") {
    return fmt::format(
        "start_extent = {}\nextent_count = {}\ntype = \"{}\"\nstripe_size = {}\nstripes = [{}]", start, count,
        type, stripe_kib * 2, stripes);
}

const LvmLogicalVolume& by_name(const LvmGroup& group, const std::string& name) {
    for (const LvmLogicalVolume& volume : group.logical)
        if (volume.name == name) return volume;
    throw_error(Code::kInternal, "no volume {}", name);
}

bool is_believed(const std::string& text) {
    try {
        parse_lvm_group(text);
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kIntegrity);
        return false;
    }
    return true;
}

// One of stripes on three disks, followed by a linear piece: 12 + 2 extents.
std::string striped_volume() {
    return volume_text("data", {segment_text(0, 12, "\"pv0\", 0, \"pv1\", 4, \"pv2\", 2", 16),
                                segment_text(12, 2, "\"pv1\", 0")});
}

struct Disks {
    std::deque<MemoryDevice> devices;
    std::vector<const block::Reader*> parts;
    Disks() {
        for (std::uint64_t seed = 1; seed <= 3; ++seed) {
            auto bytes = std::make_shared<test::DiskBytes>(kFirst + 16 * kExtent);
            test::fill_pattern(bytes->content, seed);
            parts.push_back(&devices.emplace_back(bytes));
        }
    }
};

// Where a byte of striped_volume() lies, in the plainest words.
std::pair<std::size_t, ByteOffset> place_of(ByteOffset at) {
    if (at >= 12 * kExtent) return {1, kFirst + at - 12 * kExtent};
    const std::uint64_t chunk = at / (16 * kKiB), disk = chunk % 3;
    const std::uint64_t first[] = {0, 4, 2};
    return {disk, kFirst + first[disk] * kExtent + chunk / 3 * 16 * kKiB + at % (16 * kKiB)};
}

TEST(LvmGroup, AStripedVolumeIsReadAsItLiesOnItsDisks) {
    const LvmGroup group = parse_lvm_group(group_text(striped_volume()));
    const Disks disks;
    const LvmVolumeReader reader(by_name(group, "data"), disks.parts);
    ASSERT_EQ(reader.geometry().size_bytes, 14 * kExtent);
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        SeededRandom random(seed);
        const ByteOffset begin = random.below(14 * kExtent);
        const Bytes bytes =
            block::read_extent(reader, {begin, begin + random.below(14 * kExtent - begin + 1)});
        for (std::size_t i = 0; i < bytes.size(); i += 1 + random.below(999)) {
            const auto [disk, at] = place_of(begin + i);
            ASSERT_EQ(bytes[i], disks.devices[disk].bytes()->content[at])
                << "seed " << seed << ", byte " << i;
        }
    }
    EXPECT_THROW(block::read_extent(reader, {14 * kExtent - 1, 14 * kExtent + 1}), Error);
}

TEST(LvmGroup, WhatAFilesystemUsesIsFoundOnEveryDiskAndNothingElseIs) {
    const LvmGroup group = parse_lvm_group(group_text(striped_volume()));
    const Disks disks;
    const LvmVolumeReader reader(by_name(group, "data"), disks.parts);
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        SeededRandom random(seed);
        ExtentSet used;
        for (std::uint64_t i = random.below(8) + 1; i != 0; --i) {
            const ByteOffset begin = random.below(14 * kExtent) / 512 * 512;
            used.insert(Extent{begin, begin + 512 * (1 + random.below(400))}.clipped_to({0, 14 * kExtent}));
        }
        std::vector<ExtentSet> expected(3), found(3);
        for (Extent e : used)
            for (ByteOffset at = e.begin; at < e.end; at += 512) {
                const auto [disk, place] = place_of(at);
                expected[disk].insert({place, place + 512});
            }
        reader.add_places(used, found);
        EXPECT_EQ(found, expected) << "seed " << seed;
    }
}

TEST(LvmGroup, VolumesThatAreNotSimplyTheirBytesSayWhatTheyAre) {
    const std::string hidden = "\"READ\"";
    const LvmGroup group = parse_lvm_group(group_text(
        volume_text("mirror", {"start_extent = 0\nextent_count = 1\ntype = \"raid1\"\n"
                               "raids = [\"mirror_rmeta_0\", \"mirror_rimage_0\"]"}) +
        volume_text("mirror_rimage_0", {segment_text(0, 1, "\"pv0\", 0")}, hidden) +
        volume_text("mirror_rmeta_0", {segment_text(0, 1, "\"pv0\", 1")}, hidden) +
        volume_text("thin", {"start_extent = 0\nextent_count = 9\ntype = \"thin\"\nthin_pool = \"pool\""}) +
        volume_text("pool",
                    {"start_extent = 0\nextent_count = 1\ntype = \"thin-pool\"\npool = \"pool_tdata\"\n"
                     "metadata = \"pool_tmeta\""}) +
        volume_text("pool_tdata", {segment_text(0, 1, "\"pv1\", 0")}, hidden) +
        volume_text("pool_tmeta", {segment_text(0, 1, "\"pv1\", 1")}, hidden) +
        volume_text("spare", {segment_text(0, 1, "\"pv1\", 2")}, hidden) +
        volume_text("moving", {segment_text(0, 1, "\"pv2\", 0"), segment_text(1, 1, "\"pvmove0\", 0")}) +
        volume_text("pvmove0",
                    {"start_extent = 0\nextent_count = 1\ntype = \"mirror\"\nmirrors = [\"pv1\", 3]"}) +
        volume_text("plain", {segment_text(0, 1, "\"pv0\", 2")})));
    const std::map<std::string, std::string> expected = {{"mirror", "raid1"},
                                                         {"mirror_rimage_0", "part of the raid1 mirror"},
                                                         {"mirror_rmeta_0", "part of the raid1 mirror"},
                                                         {"thin", "thin"},
                                                         {"pool", "part of the thin thin"},
                                                         {"pool_tdata", "part of the thin-pool pool"},
                                                         {"pool_tmeta", "part of the thin-pool pool"},
                                                         {"spare", "hidden"},
                                                         {"moving", "on the volume pvmove0"},
                                                         {"pvmove0", "part of the striped moving"},
                                                         {"plain", ""}};
    for (const LvmLogicalVolume& volume : group.logical)
        EXPECT_EQ(volume.special, expected.at(volume.name)) << volume.name;
    EXPECT_EQ(group.logical.size(), expected.size());
}

// Where the stripes of a volume are: "pv1@3+1", a physical volume, its first extent there and how many.
std::vector<std::string> places(const LvmLogicalVolume& volume) {
    std::vector<std::string> places;
    for (const LvmSegment& segment : volume.segments)
        for (const LvmSegment::Stripe& stripe : segment.stripes)
            places.push_back(fmt::format("pv{}@{}+{}", stripe.volume, (stripe.place.begin - kFirst) / kExtent,
                                         stripe.place.size() / kExtent));
    return places;
}

// What is not among the places of any volume is taken for free, and is lost.
TEST(LvmGroup, AnUnfinishedMoveLiesOnBothPlacesAndOnWhatItDoesNotMove) {
    const LvmGroup group = parse_lvm_group(group_text(
        volume_text("root", {segment_text(0, 2, "\"pv0\", 0"), segment_text(2, 3, "\"pvmove0\", 0")}) +
        volume_text("data", {segment_text(0, 4, "\"pvmove0\", 3, \"pv2\", 8", 16)}) +
        volume_text("pvmove0",
                    {"start_extent = 0\nextent_count = 3\ntype = \"mirror\"\nmirror_count = 2\n"
                     "extents_moved = 0\nmirrors = [\"pv0\", 9, \"pv1\", 7]",
                     segment_text(3, 2, "\"pv1\", 10")},
                    "\"READ\", \"WRITE\", \"PVMOVE\", \"LOCKED\"")));
    using Places = std::vector<std::string>;
    EXPECT_EQ(places(by_name(group, "root")), Places({"pv0@0+2"}));
    EXPECT_EQ(places(by_name(group, "data")), Places({"pv2@8+2"}));
    EXPECT_EQ(places(by_name(group, "pvmove0")), Places({"pv0@9+3", "pv1@7+3", "pv1@10+2"}));
    for (const LvmLogicalVolume& volume : group.logical)
        EXPECT_NE(volume.special, "") << volume.name;
}

TEST(LvmGroup, ASegmentThatLiesOnAPhysicalVolumeInAnUnknownWayIsNotBelieved) {
    const auto with = [](const std::string& more) {
        return group_text(volume_text("v", {"start_extent = 0\nextent_count = 2\n" + more}));
    };
    EXPECT_TRUE(is_believed(with("type = \"error\"")));
    EXPECT_TRUE(is_believed(with("type = \"error\"\ntags = [\"pv0\"]")));
    EXPECT_TRUE(is_believed(with("type = \"mirror\"\nmirrors = [\"pv0\", 2, \"pv1\", 14]")));
    EXPECT_FALSE(is_believed(with("type = \"mirror\"\nmirrors = [\"pv0\", 2, \"pv1\", 15]"))) << "too long";
    EXPECT_FALSE(is_believed(with("type = \"mirror\"\nmirrors = [\"pv0\", 2, \"pv1\"]")));
    EXPECT_FALSE(is_believed(with("type = \"mirror\"\nmirrors = [\"pv0\", 2, \"pv0\", 3]"))) << "on itself";
    EXPECT_FALSE(is_believed(with("type = \"raid9\"\nraids = [\"pv0\", 2]")));
    EXPECT_FALSE(is_believed(with("type = \"wonder\"\norigin = \"pv0\"")));
    EXPECT_FALSE(is_believed(
        with("type = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 2]\nparity = [\"pv1\", 2]")));
}

TEST(LvmGroup, AVolumeWithTheNameOfAPhysicalVolumeIsNoPartOfAnything) {
    const LvmGroup group =
        parse_lvm_group(group_text(volume_text("pv0", {segment_text(0, 1, "\"pv0\", 0")}) +
                                   volume_text("striped", {segment_text(0, 1, "\"pv0\", 1")})));
    EXPECT_EQ(by_name(group, "pv0").special, "");
    EXPECT_EQ(by_name(group, "striped").special, "");
}

TEST(LvmGroup, WhatCannotBeIsNotBelieved) {
    const auto with = [](const std::string& segment) { return group_text(volume_text("v", {segment})); };
    EXPECT_TRUE(is_believed(with(segment_text(0, 16, "\"pv0\", 0"))));
    EXPECT_FALSE(is_believed(with(segment_text(0, 17, "\"pv0\", 0")))) << "longer than its disk";
    EXPECT_FALSE(is_believed(with(segment_text(0, 1, "\"pv0\", 16"))));
    EXPECT_FALSE(is_believed(with(segment_text(0, 1, "\"pv0\", 18446744073709551615"))));
    EXPECT_FALSE(is_believed(with(segment_text(1, 1, "\"pv0\", 0")))) << "begins with a gap";
    EXPECT_FALSE(is_believed(with(segment_text(0, 0, "\"pv0\", 0"))));
    EXPECT_FALSE(is_believed(with(segment_text(0, 1, "\"pv9\", 0"))));
    EXPECT_FALSE(is_believed(with(segment_text(0, 1, "\"pv0\", x"))));
    EXPECT_FALSE(is_believed(with(segment_text(0, 1, "\"pv0\""))));
    EXPECT_FALSE(is_believed(with(segment_text(0, 1, ""))));
    EXPECT_FALSE(is_believed(with(segment_text(0, 3, "\"pv0\", 0, \"pv1\", 0", 64)))) << "an odd number";
    EXPECT_FALSE(is_believed(with(segment_text(0, 2, "\"pv0\", 0, \"pv1\", 0", 0)))) << "stripes of no size";
    EXPECT_FALSE(is_believed(with(segment_text(0, 2, "\"pv0\", 0, \"pv1\", 0", 48)))) << "half a stripe";
    EXPECT_FALSE(is_believed(with(segment_text(0, 2, "\"pv0\", 0, \"pv0\", 0", 64)))) << "on itself";
    EXPECT_FALSE(is_believed(group_text(volume_text("v", {segment_text(0, 2, "\"pv0\", 0")}) +
                                        volume_text("w", {segment_text(0, 1, "\"pv0\", 1")}))))
        << "on another";
}

}  // namespace
}  // namespace dupengine::layout
