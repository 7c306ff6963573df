#include "layout/incomplete_mark.h"

#include <gmock/gmock.h>

#include "codec/digest.h"
#include "tests/support/fake_devices.h"

namespace dupengine::test {
namespace {

using layout::IncompleteMark;
using layout::mark_extent_head;
using layout::mark_extent_tail;

constexpr std::uint64_t kDisk = 4 * kMiB;

IncompleteMark example() {
    IncompleteMark mark;
    mark.source = "/dev/golden \"disk\"";
    mark.started = 1700000000;
    mark.size_bytes = kDisk;
    layout::Partition entry;
    entry.number = 4;
    entry.extent = {3 * kMiB, 4 * kMiB - 16896};
    entry.type_guid = layout::type_guid::kProfile;
    entry.guid = Guid::parse("0b5c1f4f-aaaa-4bbb-8ccc-123456789abc");
    entry.name = "dupengine profile";
    entry.attributes = ~0ull;
    entry.mbr_type = 0xDA;
    entry.mbr_active = true;
    mark.kept = {{"profile (partition 4)", entry.extent, entry}, {"[1 MiB, 2 MiB)", {kMiB, 2 * kMiB}, {}}};
    mark.journal = IncompleteMark::Journal{{kMiB, kMiB + 8192},
                                           codec::sha256(as_bytes("id")),
                                           codec::sha256(as_bytes("plan")),
                                           codec::sha256(as_bytes("source"))};
    return mark;
}

void expect_same(const std::optional<IncompleteMark>& found, const IncompleteMark& wanted) {
    ASSERT_TRUE(found);
    EXPECT_EQ(found->source, wanted.source);
    EXPECT_EQ(found->started, wanted.started);
    EXPECT_EQ(found->size_bytes, wanted.size_bytes);
    EXPECT_EQ(found->journal, wanted.journal);
    ASSERT_EQ(found->kept.size(), wanted.kept.size());
    for (std::size_t i = 0; i < wanted.kept.size(); ++i) {
        EXPECT_EQ(found->kept[i].name, wanted.kept[i].name);
        EXPECT_EQ(found->kept[i].extent, wanted.kept[i].extent);
        EXPECT_EQ(found->kept[i].entry, wanted.kept[i].entry);
    }
}

block::Geometry geometry(std::uint32_t sector_bytes) {
    block::Geometry result;
    result.size_bytes = kDisk;
    result.logical_sector_bytes = sector_bytes;
    return result;
}

Bytes disk_with(const IncompleteMark& mark, block::Extent place, std::uint32_t sector_bytes = 512) {
    Bytes disk(kDisk);
    const Bytes room = encode_mark(mark, sector_bytes);
    EXPECT_EQ(room.size(), place.size());
    std::copy(room.begin(), room.end(), disk.begin() + static_cast<std::ptrdiff_t>(place.begin));
    return disk;
}

std::optional<IncompleteMark> find_in(const Bytes& content, std::uint32_t sector_bytes = 512) {
    auto bytes = std::make_shared<DiskBytes>(0);
    bytes->content = content;
    return layout::find_mark(MemoryDevice(bytes, sector_bytes));
}

TEST(IncompleteMark, IsFoundAtEitherEndWithAllItSays) {
    for (const std::uint32_t sector : {512u, 4096u})
        for (const block::Extent place :
             {mark_extent_head(geometry(sector)), mark_extent_tail(geometry(sector))})
            expect_same(find_in(disk_with(example(), place, sector), sector), example());
}

TEST(IncompleteMark, OfAnImageWith4096ByteSectorsIsFoundInAFile) {
    expect_same(find_in(disk_with(example(), mark_extent_tail(geometry(4096)), 4096), 512), example());
}

TEST(IncompleteMark, LeavesAProtectedPartitionAtTheEndOfTheDiskAlone) {
    for (const std::uint32_t sector : {512u, 4096u}) {
        layout::PartitionTable table;
        table.kind = layout::TableKind::kGpt;
        table.sector_bytes = sector;
        const block::ExtentSet areas = table_extents(table, kDisk);
        EXPECT_TRUE(areas.contains(mark_extent_head(geometry(sector)))) << sector;
        EXPECT_TRUE(areas.contains(mark_extent_tail(geometry(sector)))) << sector;
    }
}

TEST(IncompleteMark, AtTheEndIsTheNewerOne) {
    IncompleteMark newer = example();
    newer.source = "newer";
    Bytes disk = disk_with(example(), mark_extent_head(geometry(512)));
    const block::Extent tail = mark_extent_tail(geometry(512));
    const Bytes room = encode_mark(newer, 512);
    std::copy(room.begin(), room.end(), disk.begin() + static_cast<std::ptrdiff_t>(tail.begin));
    expect_same(find_in(disk), newer);
    disk[tail.begin + 60] ^= std::byte{1};
    expect_same(find_in(disk), example());
}

TEST(IncompleteMark, OfAnotherDiskIsNotOurs) {
    IncompleteMark mark = example();
    mark.size_bytes = kDisk + 512;
    EXPECT_FALSE(find_in(disk_with(mark, mark_extent_head(geometry(512)))));
}

TEST(IncompleteMark, WithAnyFlippedBitIsNoMark) {
    const block::Extent head = mark_extent_head(geometry(512));
    const Bytes whole = disk_with(example(), head);
    const std::size_t used = 56 + load_le<std::uint32_t>(whole, head.begin + 20);
    auto bytes = std::make_shared<DiskBytes>(0);
    bytes->content = whole;
    const MemoryDevice device(bytes);
    for (std::size_t bit = head.begin * 8; bit < (head.begin + used) * 8; ++bit) {
        bytes->content[bit / 8] ^= std::byte(1 << bit % 8);
        ASSERT_FALSE(layout::find_mark(device)) << "bit " << bit;
        bytes->content[bit / 8] ^= std::byte(1 << bit % 8);
    }
    EXPECT_TRUE(layout::find_mark(device));
}

// A mark whose digest is right and whose text is anything.
std::optional<IncompleteMark> find_text(const std::string& text) {
    Bytes disk = disk_with(example(), mark_extent_head(geometry(512)));
    const auto room = std::span(disk).subspan(512, mark_extent_head(geometry(512)).size());
    const codec::Sha256 digest = codec::sha256(as_bytes(text));
    store_le<std::uint32_t>(room, 20, static_cast<std::uint32_t>(text.size()));
    std::copy(digest.begin(), digest.end(), room.begin() + 24);
    std::copy_n(as_bytes(text).begin(), text.size(), room.begin() + 56);
    return find_in(disk);
}

TEST(IncompleteMark, KeepsWhatItProtectsWhateverItsJournalSays) {
    const std::string start = R"({"source":"x","started":1,"size_bytes":4194304,)"
                              R"("protected":[{"name":"a","begin":0,"end":512}])";
    const std::string digest = '"' + std::string(64, 'a') + '"';
    const auto with = [&](const std::string& begin, const std::string& end, const std::string& id) {
        return fmt::format(R"({},"journal":{{"begin":{},"end":{},"id":{},"plan":{},"source":{}}}}})", start,
                           begin, end, id, digest, digest);
    };
    const auto good = find_text(with("0", "8192", digest));
    ASSERT_TRUE(good && good->journal);
    EXPECT_EQ(good->journal->place, (block::Extent{0, 8192}));
    for (const std::string& text :
         {start + "}", start + R"(,"journal":null})", start + R"(,"journal":{}})",
          with("0", "4194305", digest), with("8192", "8192", digest), with("-1", "8192", digest),
          with("0", "8192", R"("aa")"), with("0", "8192", R"("zz")"), with("0", "8192", "7")}) {
        const auto mark = find_text(text);
        ASSERT_TRUE(mark) << text;
        EXPECT_EQ(mark->kept.size(), 1u) << text;
        EXPECT_FALSE(mark->journal) << text;
    }
}

TEST(IncompleteMark, WithATextThatIsNotOursIsNoMarkAndNoCrash) {
    const std::string start = R"({"source":"x","started":1,"size_bytes":4194304,"protected":[)";
    EXPECT_TRUE(find_text(start + R"({"name":"a","begin":0,"end":512}]})"));
    EXPECT_TRUE(find_text(start + "]}"));
    for (const std::string kept : {
             R"(1)",
             R"({})",
             R"({"name":1,"begin":0,"end":512})",
             R"({"name":"a","begin":-1,"end":512})",
             R"({"name":"a","begin":0.5,"end":512})",
             R"({"name":"a","begin":512,"end":512})",
             R"({"name":"a","begin":512,"end":0})",
             R"({"name":"a","begin":0,"end":4194305})",
             R"({"name":"a","begin":0,"end":18446744073709551616})",
             R"({"name":"a","begin":0,"end":512,"entry":7})",
             R"({"name":"a","begin":0,"end":512,"entry":{"number":1}})",
             R"({"name":"a","begin":0,"end":512,"entry":{"number":1,"type_guid":"no","guid":"no","name":"",
                 "attributes":0,"mbr_type":0,"mbr_active":false,"mbr_logical":false}})",
         })
        EXPECT_FALSE(find_text(start + kept + "]}")) << kept;
    for (const std::string text : {"", "null", "[]", "{}", "\xff", "{\"source\":", "\"x\""})
        EXPECT_FALSE(find_text(text));
    EXPECT_FALSE(find_text(std::string(16000, '[')));
    EXPECT_FALSE(find_text(start + std::string(8000, '[') + std::string(8000, ']') + "]}"));
}

TEST(IncompleteMark, ThatCannotNameEveryProtectedRegionIsRefused) {
    IncompleteMark mark = example();
    mark.kept.resize(1000, mark.kept[0]);
    EXPECT_THROW(
        try { encode_mark(mark, 512); } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused);
            throw;
        },
        Error);
}

TEST(IncompleteMark, NamesThatAreNotUtf8DoNotStopACopy) {
    IncompleteMark mark = example();
    mark.source = "/images/\xff";
    const auto found = find_in(disk_with(mark, mark_extent_head(geometry(512))));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->source, "/images/\xEF\xBF\xBD");
}

TEST(IncompleteMark, HasNoPlaceOnATinyDisk) {
    block::Geometry tiny;
    for (std::uint64_t size : {0u, 512u, 20000u, 34303u}) {
        tiny.size_bytes = size;
        EXPECT_THROW(mark_extent_head(tiny), Error);
        EXPECT_THROW(mark_extent_tail(tiny), Error);
        EXPECT_FALSE(find_in(Bytes(size)));
    }
    tiny.size_bytes = 34304;  // 1 + 33 + 33 sectors
    EXPECT_FALSE(mark_extent_head(tiny).touches(mark_extent_tail(tiny)));
}

}  // namespace
}  // namespace dupengine::test
