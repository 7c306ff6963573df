#include "cli/text.h"

#include <gtest/gtest.h>

namespace dupengine::cli {
namespace {

TEST(Text, ALabelFromADiskCannotCommandTheTerminal) {
    EXPECT_EQ(printable("a\033[2Jb\nc\x7f", Charset::kUtf8), "a?[2Jb?c?");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m",
                        Charset::kUtf8),
              "?31m")
        << "C1 control sequence introducer";
    EXPECT_EQ(printable("evil\xe2\x80\xaetxt", Charset::kUtf8), "evil?txt") << "right-to-left override";
}

TEST(Text, BrokenUtf8IsShownAsQuestionMarksAndNeverReadPastTheEnd) {
    EXPECT_EQ(printable("a\xff\xc3", Charset::kUtf8), "a??");
    EXPECT_EQ(printable("\xc0\xaf", Charset::kUtf8), "??") << "overlong";
    EXPECT_EQ(printable("\xed\xa0\x80", Charset::kUtf8), "???") << "a surrogate";
    EXPECT_EQ(printable("\xf4\x90\x80\x80", Charset::kUtf8), "????") << "beyond U+10FFFF";
    EXPECT_EQ(printable("\xf0\x9f\x98", Charset::kUtf8), "???") << "cut off";
}

TEST(Text, GoodTextStaysAsItIs) {
    EXPECT_EQ(printable("Fotos für 家族 😀", Charset::kUtf8), "Fotos für 家族 😀");
    EXPECT_EQ(printable("für", Charset::kAscii), "f?r");
}

TEST(Text, ColumnsAreCountedAsTheTerminalDrawsThem) {
    EXPECT_EQ(columns_of("für"), 3u);
    EXPECT_EQ(columns_of("家族"), 4u);
    EXPECT_EQ(columns_of("e\xcc\x81"), 1u);
    EXPECT_EQ(columns_of("😀"), 2u);
    EXPECT_EQ(columns_of(""), 0u);
}

TEST(Text, FittedTextIsExactlyAsWideAsAsked) {
    EXPECT_EQ(fitted("root", 6, Charset::kAscii), "root  ");
    EXPECT_EQ(fitted("rootfs", 4, Charset::kAscii), "roo~");
    EXPECT_EQ(fitted("rootfs", 4, Charset::kUtf8), "roo…");
    EXPECT_EQ(fitted("rootfs", 3, Charset::kUtf8), "roo");
    EXPECT_EQ(fitted("rootfs", 0, Charset::kUtf8), "");
    for (std::size_t columns = 0; columns < 12; ++columns)
        EXPECT_EQ(columns_of(fitted("a家族für😀x", columns, Charset::kUtf8)), columns) << columns;
}

}  // namespace
}  // namespace dupengine::cli
