#include "base/units.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dupengine {
namespace {

TEST(Units, SizesReadAsPeopleWriteThem) {
    EXPECT_EQ(parse_size("512"), 512u);
    EXPECT_EQ(parse_size("4K"), 4096u);
    EXPECT_EQ(parse_size("16MiB"), 16u << 20);
    EXPECT_EQ(parse_size("2GB"), 2'000'000'000u);
    EXPECT_EQ(parse_size("1 T"), 1ull << 40);
    EXPECT_EQ(parse_size("7 B"), 7u);
}

TEST(Units, ASizeThatCannotBeMeantIsRefused) {
    for (const char* text : {"", "K", "-1", "1X", "1MiBs", "0x10", "1.5G", "99999999999999999999", "16EiB"})
        EXPECT_THROW(parse_size(text), Error) << text;
}

TEST(Units, SizesAndTimesAreShort) {
    EXPECT_EQ(format_size(0), "0 B");
    EXPECT_EQ(format_size(1023), "1023 B");
    EXPECT_EQ(format_size(1536), "1.5 KiB");
    EXPECT_EQ(format_size(4ull << 30), "4 GiB");
    EXPECT_EQ(format_size(1023ull << 20), "1 GiB");
    EXPECT_EQ(format_duration(3.2), "3.2 s");
    EXPECT_EQ(format_duration(252), "4 min 12 s");
    EXPECT_EQ(format_duration(7500), "2 h 05 min");
}

}  // namespace
}  // namespace dupengine
