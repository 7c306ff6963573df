#include "machine/pages_ahead.h"

#include <gtest/gtest.h>

#include <atomic>

#include "base/error.h"
#include "codec/page_path.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

// The pages of an image, each with its number; after `good` of them the device fails.
class NumberedPages {
  public:
    explicit NumberedPages(std::uint64_t all, std::uint64_t good = ~0ULL) : all_(all), good_(good) {}
    bool operator()(std::span<std::byte> page) {
        if (given_ == good_) throw_error(Code::kSourceIo, "page {} cannot be read", given_.load());
        if (given_ == all_) return false;
        store_le<std::uint64_t>(page, 0, given_);
        store_le<std::uint64_t>(page, kPageBytes - 8, given_);
        ++given_;
        return true;
    }
    std::uint64_t given() const { return given_; }

  private:
    std::uint64_t all_, good_;
    std::atomic<std::uint64_t> given_ = 0;
};

// How many came, each in its place.
std::uint64_t count_in_order(PagesAhead& pages) {
    std::uint64_t count = 0;
    for (auto page = pages.next(); !page.empty(); page = pages.next(), ++count)
        if (load_le<std::uint64_t>(page, 0) != count || load_le<std::uint64_t>(page, kPageBytes - 8) != count)
            ADD_FAILURE() << "another page in the place of " << count;
    return count;
}

TEST(PagesAhead, GivesAllOfThemInOrderWhateverTheirNumber) {
    for (const std::uint64_t all : {0, 1, 127, 128, 129, 255, 256, 257, 5000}) {
        NumberedPages image(all);
        const NextImagePage next_page = std::ref(image);
        PagesAhead pages(next_page);
        EXPECT_EQ(count_in_order(pages), all);
        EXPECT_TRUE(pages.next().empty()) << "after the end";
    }
}

TEST(PagesAhead, APageThatCannotBeReadIsNotTakenForTheEnd) {
    for (const std::uint64_t good : {0, 1, 128, 300}) {
        NumberedPages image(5000, good);
        const NextImagePage next_page = std::ref(image);
        PagesAhead pages(next_page);
        EXPECT_THROW(count_in_order(pages), Error);
    }
}

TEST(PagesAhead, EndsInTheMiddleAndReadsNoMore) {
    NumberedPages image(1'000'000);
    const NextImagePage next_page = std::ref(image);
    {
        PagesAhead pages(next_page);
        EXPECT_EQ(load_le<std::uint64_t>(pages.next(), 0), 0U);
    }
    const std::uint64_t given = image.given();
    EXPECT_LE(given, 1000U) << "it reads far ahead of who looks";
    EXPECT_EQ(image.given(), given);
}

}  // namespace
}  // namespace dupengine::machine
