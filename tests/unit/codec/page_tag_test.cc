#include "codec/page_tag.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "codec/page_path.h"

namespace dupengine::codec {
namespace {

PageTagger::Key a_key(std::uint8_t first = 0) {
    PageTagger::Key key;
    for (std::size_t i = 0; i < key.size(); ++i)
        key[i] = static_cast<std::byte>(first + i);
    return key;
}

Bytes a_page() {
    Bytes page(kPageBytes);
    for (std::size_t i = 0; i < page.size(); ++i)
        page[i] = static_cast<std::byte>(i * i >> 3);
    return page;
}

// Computed with Python's integers and hashlib: the words of the key are SHA-256 of key and offset (64 bits)
// one after another; NH over the words behind the first six, and of its sum the upper half of a0 + a1 * low +
// a2 * high (128 bits).
TEST(PageTagger, IsNhWithAMultilinearHashOfItsSum) {
    const PageTagger tagger(a_key());
    EXPECT_EQ(tagger.of(a_page()), 0xa0ba61ad551cf51eU);
    EXPECT_EQ(tagger.of_lines(a_page())[5], 0xecb075d9912fbca1U);
    EXPECT_EQ(tagger.of_zeros(), 0x935ff6bc9f5e7355U);
    EXPECT_EQ(tagger.of(Bytes(kPageBytes)), tagger.of_zeros());
}

TEST(PageTagger, OneBitAnywhereMakesAnotherTagOfThePageAndOfItsLineAlone) {
    const PageTagger tagger(a_key());
    Bytes page = a_page();
    const LineTags lines = tagger.of_lines(page);
    std::set<std::uint64_t> tags{tagger.of(page)};
    for (std::size_t bit = 0; bit < kPageBytes * 8; bit += 5) {
        page[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        EXPECT_TRUE(tags.insert(tagger.of(page)).second) << "bit " << bit;
        const LineTags changed = tagger.of_lines(page);
        for (std::size_t line = 0; line < kPageLines; ++line)
            ASSERT_EQ(changed[line] != lines[line], line == bit / 8 / kLineBytes) << "bit " << bit;
        page[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    }
}

TEST(PageTagger, WordsThatChangePlacesMakeAnotherTag) {
    const PageTagger tagger(a_key());
    Bytes page = a_page();
    const std::uint64_t before = tagger.of(page);
    for (const std::size_t other : {8, 16, 64, 1032, 4088}) {
        std::swap_ranges(page.begin(), page.begin() + 8, page.begin() + static_cast<std::ptrdiff_t>(other));
        EXPECT_NE(tagger.of(page), before) << other;
        std::swap_ranges(page.begin(), page.begin() + 8, page.begin() + static_cast<std::ptrdiff_t>(other));
    }
    EXPECT_EQ(tagger.of(page), before);
}

TEST(PageTagger, WhoDoesNotKnowTheKeyDoesNotKnowTheTag) {
    EXPECT_NE(PageTagger(a_key()).of(a_page()), PageTagger(a_key(1)).of(a_page()));
    EXPECT_NE(PageTagger(a_key()).of_zeros(), PageTagger(a_key(1)).of_zeros());
}

}  // namespace
}  // namespace dupengine::codec
