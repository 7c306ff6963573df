// Differences of pages: the receiver has the sender's pages afterwards, or its own again, and nothing else.

#include "codec/page_difference.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <map>

#include "base/random.h"

namespace dupengine::codec {
namespace {

using ::testing::HasSubstr;
using ::testing::Throws;
using Added = GroupWriter::Added;

constexpr std::size_t kWords = kPageBytes / 8;

std::span<std::byte> page_of(Bytes& memory, std::size_t number) {
    return std::span(memory).subspan(number * kPageBytes, kPageBytes);
}

Bytes random_memory(std::size_t pages, std::uint64_t seed) {
    Bytes memory(pages * kPageBytes);
    SeededRandom(seed).fill(memory);
    return memory;
}

// Other words than were there, `count` of them, in a page.
void change_words(std::span<std::byte> page, std::size_t count, SeededRandom& random) {
    std::vector<std::size_t> words(kWords);
    for (std::size_t i = 0; i < kWords; ++i)
        words[i] = i;
    for (std::size_t i = 0; i < count; ++i) {
        std::swap(words[i], words[i + random.below(kWords - i)]);
        page[words[i] * 8 + random.below(8)] ^= static_cast<std::byte>(1 + random.below(255));
    }
}

// What a sender would send to make `after` of `before`, in groups.
std::vector<Bytes> groups_of(Bytes& before, Bytes& after, PagePath path,
                             std::size_t room_bytes = kMaxGroupBytes) {
    std::vector<Bytes> groups;
    const auto keep = [&](std::span<const std::byte> group) {
        groups.emplace_back(group.begin(), group.end());
    };
    Bytes room(room_bytes, std::byte{0xA5});
    GroupWriter writer(room, path);
    for (std::size_t page = 0; page < before.size() / kPageBytes; ++page) {
        if (writer.add(page, page_of(before, page), page_of(after, page)) != Added::kFull) continue;
        keep(writer.finish());
        writer = GroupWriter(room, path);
        EXPECT_NE(writer.add(page, page_of(before, page), page_of(after, page)), Added::kFull);
    }
    keep(writer.finish());
    return groups;
}

Bytes group_of(Bytes& before, Bytes& after, PagePath path = PagePath::kPlain) {
    auto groups = groups_of(before, after, path);
    EXPECT_EQ(groups.size(), 1u);
    return groups.front();
}

class PageDifference : public testing::TestWithParam<PagePath> {};
INSTANTIATE_TEST_SUITE_P(EachWay, PageDifference, testing::ValuesIn(page_paths()),
                         [](const auto& way) { return page_path_name(way.param); });

TEST_P(PageDifference, AnyNumberOfChangedWordsIsAppliedAndTakenBackExactly) {
    SeededRandom random(1);
    for (std::size_t count = 0; count <= kWords; ++count) {
        SCOPED_TRACE(fmt::format("{} changed words, seed 1", count));
        Bytes before = random_memory(1, count);
        Bytes after = before;
        change_words(after, count, random);
        Bytes memory = before;
        Bytes group = hold_group(group_of(before, after, GetParam()));
        ASSERT_EQ(group.size(), kGroupHeaderBytes + (count == 0 ? 0 : kGroupEntryBytes + count * 8));
        swap_group(group, memory, GetParam());
        ASSERT_TRUE(memory == after);
        swap_group(group, memory, GetParam());
        ASSERT_TRUE(memory == before);
    }
}

TEST_P(PageDifference, WritesTheSameBytesAsEveryOtherWay) {
    SeededRandom random(2);
    for (const std::size_t count : {0u, 1u, 7u, 8u, 51u, 300u, 511u, 512u}) {
        Bytes before = random_memory(3, count);
        Bytes after = before;
        for (std::size_t page = 0; page < 3; ++page)
            change_words(page_of(after, page), count, random);
        EXPECT_EQ(group_of(before, after, GetParam()), group_of(before, after, PagePath::kPlain)) << count;
    }
}

TEST(PageLines, OnlyThoseThatChangedAreSentAndTheyAreTakenBack) {
    SeededRandom random(3);
    Bytes before = random_memory(1, 3), room(kMinGroupRoom + kPageBytes);
    for (const std::uint64_t lines :
         {std::uint64_t{1}, std::uint64_t{1} << 63, std::uint64_t{0xF0F0}, ~std::uint64_t{0}}) {
        Bytes after = before;
        for (std::size_t line = 0; line < 64; ++line)
            if ((lines >> line & 1) != 0) random.fill(std::span(after).subspan(line * 64, 64));
        GroupWriter writer(room);
        EXPECT_EQ(writer.add_lines(0, 0, after), GroupWriter::Added::kEqual);
        ASSERT_EQ(writer.add_lines(0, lines, after), GroupWriter::Added::kAdded);
        const auto sent = writer.finish();
        EXPECT_EQ(sent.size(),
                  kGroupHeaderBytes + kGroupEntryBytes + static_cast<std::size_t>(std::popcount(lines)) * 64);
        Bytes memory = before, group = hold_group(sent);
        swap_group(group, memory);
        EXPECT_TRUE(memory == after);
        swap_group(group, memory);
        EXPECT_TRUE(memory == before);
    }
}

TEST(PageLines, OfAPageThatBecameZeroAreNotSent) {
    Bytes before = random_memory(1, 4), after(kPageBytes), room(kMinGroupRoom + kPageBytes);
    GroupWriter writer(room);
    ASSERT_EQ(writer.add_lines(0, ~std::uint64_t{0}, after), GroupWriter::Added::kAdded);
    const auto sent = writer.finish();
    EXPECT_EQ(sent.size(), kGroupHeaderBytes + kGroupEntryBytes);
    Bytes memory = before, group = hold_group(sent);
    swap_group(group, memory);
    EXPECT_TRUE(memory == after);
}

// A set of which only some groups came is undone, the last first; pages lie anywhere in the memory.
TEST_P(PageDifference, AHalfReceivedSetIsUndone) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}; --gtest_filter=*AHalfReceivedSetIsUndone*", seed));
        SeededRandom random(seed);
        const std::size_t pages = 1 + random.below(600);
        Bytes first = random_memory(pages, seed);
        Bytes second = first;
        for (std::size_t page = 0; page < pages; ++page) {
            if (random.below(4) == 0)
                std::ranges::fill(page_of(second, page), std::byte{0});
            else
                change_words(page_of(second, page), random.below(3) == 0 ? 0 : random.below(kWords + 1),
                             random);
        }
        Bytes third = second;  // the same pages again: order matters
        for (std::size_t page = 0; page < pages; page += 2)
            change_words(page_of(third, page), random.below(9), random);

        std::vector<Bytes> held;
        const std::size_t room = kMinGroupRoom + random.below(kMaxGroupBytes - kMinGroupRoom);
        for (const Bytes& group : groups_of(first, second, GetParam(), room))
            held.push_back(hold_group(group));
        for (const Bytes& group : groups_of(second, third, GetParam(), room))
            held.push_back(hold_group(group));

        Bytes memory = first;
        for (Bytes& group : held)
            swap_group(group, memory, GetParam());
        ASSERT_TRUE(memory == third);
        std::size_t arrived = random.below(held.size() + 1);
        for (std::size_t i = held.size(); i-- > arrived;)
            swap_group(held[i], memory, GetParam());
        for (std::size_t i = arrived; i-- > 0;)
            swap_group(held[i], memory, GetParam());
        ASSERT_TRUE(memory == first);
    }
}

TEST_P(PageDifference, ThingsNeedNoAlignmentAndNothingBesideThemIsTouched) {
    constexpr std::byte kGuard{0x5A};
    SeededRandom random(4);
    for (std::size_t shift = 1; shift < 70; shift += 3) {
        Bytes before = random_memory(2, shift);
        Bytes after = before;
        change_words(page_of(after, 0), shift * 7, random);
        change_words(page_of(after, 1), 512 - shift, random);
        Bytes at_odds(after.size() + shift);
        std::ranges::copy(after, at_odds.begin() + static_cast<std::ptrdiff_t>(shift));
        Bytes room(kMinGroupRoom + kPageBytes + shift, kGuard);
        GroupWriter writer{std::span(room).subspan(shift, kMinGroupRoom + kPageBytes - 1), GetParam()};
        for (std::size_t page = 0; page < 2; ++page)
            writer.add(page, page_of(before, page),
                       std::span(at_odds).subspan(shift + page * kPageBytes, kPageBytes));
        const auto group = writer.finish();
        EXPECT_EQ(room.back(), kGuard);
        EXPECT_EQ(Bytes(group.begin(), group.end()), group_of(before, after));

        Bytes held(group.size() + 2 * shift, kGuard), memory(before.size() + 2 * shift, kGuard);
        std::ranges::copy(group, held.begin() + static_cast<std::ptrdiff_t>(shift));
        std::ranges::copy(before, memory.begin() + static_cast<std::ptrdiff_t>(shift));
        swap_group(std::span(held).subspan(shift, group.size()),
                   std::span(memory).subspan(shift, before.size()), GetParam());
        EXPECT_TRUE(std::ranges::equal(std::span(memory).subspan(shift, after.size()), after));
        for (std::size_t i = 0; i < shift; ++i)
            for (const Bytes* bytes : {&held, &memory})
                EXPECT_TRUE((*bytes)[i] == kGuard && (*bytes)[bytes->size() - 1 - i] == kGuard);
    }
}

TEST_P(PageDifference, APageThatBecameZeroCostsNoWordsAndComesBack) {
    Bytes before = random_memory(3, 5);
    Bytes after = before;
    std::ranges::fill(page_of(after, 1), std::byte{0});
    after[0] ^= std::byte{1};
    after.back() ^= std::byte{1};
    const Bytes sent = group_of(before, after, GetParam());
    EXPECT_EQ(sent.size(), kGroupHeaderBytes + 3 * kGroupEntryBytes + 2 * 8);
    EXPECT_EQ(group_size(sent).held_bytes, sent.size() + kPageBytes);
    Bytes group = hold_group(sent), memory = before;
    swap_group(group, memory, GetParam());
    EXPECT_TRUE(memory == after);
    swap_group(group, memory, GetParam());
    EXPECT_TRUE(memory == before);
}

TEST_P(PageDifference, APageUnknownToTheSenderReplacesWhatTheReceiverHas) {
    Bytes after = random_memory(4, 6);
    std::ranges::fill(page_of(after, 2), std::byte{0});
    Bytes room(kMinGroupRoom + 4 * kPageBytes);
    GroupWriter writer(room, GetParam());
    for (std::size_t page = 0; page < 4; ++page)
        EXPECT_EQ(writer.add_whole(page, page_of(after, page)), Added::kAdded);
    Bytes memory = random_memory(4, 7);
    const Bytes own = memory;
    Bytes group = hold_group(writer.finish());
    swap_group(group, memory, GetParam());
    EXPECT_TRUE(memory == after);
    swap_group(group, memory, GetParam());
    EXPECT_TRUE(memory == own);
}

TEST(GroupWriter, IsFullBeforeItWouldPassItsRoomOrItsNumberOfPages) {
    Bytes page(kPageBytes, std::byte{1});
    Bytes room(kMinGroupRoom + 3 * kPageBytes - 1);
    GroupWriter writer(room);
    EXPECT_EQ(writer.add_whole(0, page), Added::kAdded);
    EXPECT_EQ(writer.add_whole(1, page), Added::kAdded);
    EXPECT_EQ(writer.add_whole(2, page), Added::kAdded);
    EXPECT_EQ(writer.add_whole(3, page), Added::kFull);
    EXPECT_EQ(group_size(writer.finish()).pages, 3u);
    Bytes zero(kPageBytes);
    GroupWriter many(room);
    for (std::size_t i = 0; i < kMaxGroupPages; ++i)
        EXPECT_EQ(many.add(i * 1000, page, zero), Added::kAdded);
    EXPECT_EQ(many.add(kMaxGroupPages * 1000, page, zero), Added::kFull);
    EXPECT_LE(group_size(many.finish()).held_bytes, kMaxGroupBytes);
}

TEST(GroupWriter, RefusesMistakesOfItsCaller) {
    Bytes page(kPageBytes), other(kPageBytes, std::byte{1}), room(kMaxGroupBytes);
    EXPECT_THROW(GroupWriter(std::span(room).first(kMinGroupRoom - 1)), Error);
    GroupWriter writer(room);
    writer.add(7, page, other);
    EXPECT_THROW(writer.add(7, page, other), Error);
    EXPECT_THROW(writer.add(8, std::span(page).first(4095), other), Error);
    EXPECT_THROW(writer.add(std::uint64_t{1} << 63, page, other), Error);
}

// A group of three pages, the second of which became zero, and the memory it belongs to.
struct Damaged {
    Bytes memory = random_memory(3, 8), after = memory, sent;
    Damaged() {
        SeededRandom random(9);
        change_words(page_of(after, 0), 5, random);
        std::ranges::fill(page_of(after, 1), std::byte{0});
        change_words(page_of(after, 2), 500, random);
        sent = group_of(memory, after);
    }
    std::size_t entry(std::size_t index) const { return kGroupHeaderBytes + index * kGroupEntryBytes; }
};

void expect_refused(const Bytes& group, const Bytes& memory, const std::string& complaint) {
    for (const PagePath path : page_paths()) {
        Bytes held = group, untouched = memory;
        EXPECT_THAT([&] { swap_group(held, untouched, path); },
                    Throws<Error>(testing::AllOf(testing::Property(&Error::code, Code::kIntegrity),
                                                 testing::Property(&Error::what, HasSubstr(complaint)))));
        EXPECT_TRUE(held == group && untouched == memory) << "nothing is touched before all is checked";
    }
}

TEST(DamagedGroup, EveryFieldIsCheckedBeforeAPageIsTouched) {
    const Damaged good;
    const auto damage = [&](const std::string& complaint, auto&& change) {
        Bytes group = hold_group(good.sent);
        change(group);
        expect_refused(group, good.memory, complaint);
    };
    damage("no group", [](Bytes& g) { g[0] = std::byte{'X'}; });
    damage("format 2", [](Bytes& g) { store_le<std::uint32_t>(g, 8, 2); });
    damage("bytes instead", [](Bytes& g) { store_le<std::uint32_t>(g, 12, 2); });
    damage("more than 256", [](Bytes& g) { store_le<std::uint32_t>(g, 12, ~0u); });
    damage("bytes instead", [](Bytes& g) { store_le<std::uint32_t>(g, 16, 504); });
    damage("cannot have", [](Bytes& g) { store_le<std::uint32_t>(g, 16, ~0u); });
    damage("cannot have", [](Bytes& g) { store_le<std::uint32_t>(g, 20, ~0u); });
    damage("other words", [](Bytes& g) {
        store_le<std::uint32_t>(g, 16, 504);
        store_le<std::uint32_t>(g, 20, 513);
    });
    damage("not in its order", [&](Bytes& g) { store_le<std::uint64_t>(g, good.entry(2), 1); });
    damage("not in its order", [&](Bytes& g) { store_le<std::uint64_t>(g, good.entry(2), 0); });
    damage("of 3 that there are", [&](Bytes& g) { store_le<std::uint64_t>(g, good.entry(2), 3); });
    damage("of 3 that there are", [&](Bytes& g) { store_le<std::uint64_t>(g, good.entry(2), ~0ull); });
    damage("other words", [&](Bytes& g) { store_le<std::uint64_t>(g, good.entry(1), 1); });
    damage("does not differ", [&](Bytes& g) { std::fill_n(&g[good.entry(0) + 8], 64, std::byte{0}); });
    for (std::size_t bit = 0; bit < 512; ++bit)
        damage("", [&](Bytes& g) { g[good.entry(2) + 8 + bit / 8] ^= static_cast<std::byte>(1 << bit % 8); });
}

TEST(DamagedGroup, AnyTruncationAndTrailingBytesAreRefused) {
    const Damaged good;
    const Bytes held = hold_group(good.sent);
    for (std::size_t size = 0; size < held.size(); ++size)
        expect_refused(Bytes(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(size)), good.memory,
                       "");
    Bytes longer = held;
    longer.push_back(std::byte{0});
    expect_refused(longer, good.memory, "bytes instead");
    for (const std::size_t size : {std::size_t{0}, kGroupHeaderBytes - 1, good.sent.size() - 1})
        EXPECT_THROW(hold_group(std::span(good.sent).first(size)), Error) << size;
    Bytes trailing = good.sent;
    trailing.push_back(std::byte{0});
    EXPECT_THROW(hold_group(trailing), Error);
}

TEST(PagePaths, ThePlainWayIsAlwaysThereAndAnUnknownOneIsRefusedByName) {
    ASSERT_FALSE(page_paths().empty());
    EXPECT_EQ(page_paths().front(), PagePath::kPlain);
    EXPECT_EQ(page_paths().back(), fastest_page_path());
    for (const PagePath path : {PagePath::kPlain, PagePath::kAvx2, PagePath::kAvx512})
        if (has_page_path(path))
            EXPECT_NE(page_operations(path).find, nullptr);
        else
            EXPECT_THROW(page_operations(path), Error) << page_path_name(path);
}

}  // namespace
}  // namespace dupengine::codec
