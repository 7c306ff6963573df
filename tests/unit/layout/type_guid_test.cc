#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "layout/partition_table.h"
#include "layout/utf16.h"
#include "tests/support/scratch.h"

namespace dupengine::test {
namespace {

using namespace layout;

TEST(TypeGuid, ConstantsAreTheOnesOfTheStandards) {
    EXPECT_EQ(type_guid::kEfiSystem.text(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    EXPECT_EQ(type_guid::kLinuxData.text(), "0fc63daf-8483-4772-8e79-3d69d8477de4");
    EXPECT_EQ(type_guid::kLinuxSwap.text(), "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");
    EXPECT_EQ(type_guid::kRootX86_64.text(), "4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
    EXPECT_EQ(type_guid::kXbootldr.text(), "bc13c2ff-59e6-4262-a352-b275fd6f7172");
    EXPECT_EQ(type_guid::kBiosBoot.text(), "21686148-6449-6e6f-744e-656564454649");
    EXPECT_EQ(type_guid::kProfile.text(), "d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972");
}

TEST(TypeGuid, IsAWordForAPersonOrItsText) {
    EXPECT_EQ(type_guid::describe(type_guid::kEfiSystem), "EFI system");
    EXPECT_EQ(type_guid::describe(type_guid::kRootX86_64), "Linux root (x86-64)");
    EXPECT_EQ(type_guid::describe(type_guid::kProfile), "dupengine profile");
    const Guid unknown = Guid::parse("00000000-1111-4222-8333-444444444444");
    EXPECT_EQ(type_guid::describe(unknown), unknown.text());
}

TEST(TypeGuid, OfOurProfileIsNobodyElses) {
    std::string known = must_run({"sfdisk", "--list-types", "--label", "gpt"});
    std::transform(known.begin(), known.end(), known.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    EXPECT_EQ(known.find(type_guid::kProfile.text()), std::string::npos);
    EXPECT_NE(known.find(type_guid::kEfiSystem.text()), std::string::npos);
}

TEST(Utf16, EveryCodePointGoesThereAndBack) {
    for (char32_t point = 1; point < 0x110000; point += point < 0x3000 ? 1 : 97) {
        if (point >= 0xD800 && point < 0xE000) continue;
        Bytes units;
        const auto put = [&](char32_t unit) {
            units.push_back(std::byte(unit & 0xFF));
            units.push_back(std::byte(unit >> 8));
        };
        if (point < 0x10000) put(point);
        if (point >= 0x10000) put(0xD7C0 + (point >> 10)), put(0xDC00 + (point & 0x3FF));
        const Utf16Text text = utf8_from_utf16(units);
        ASSERT_FALSE(text.damaged);
        ASSERT_EQ(utf16_from_utf8(text.utf8), units) << static_cast<unsigned>(point);
    }
}

TEST(Utf16, TextThatIsNotUtf8IsRefused) {
    for (const char* bad :
         {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE2\x82", "\xE0\x80\x80", "\xED\xA0\x80",
          "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xC3(", "\xF0\x9F\x98"})
        EXPECT_THROW(utf16_from_utf8(bad), Error) << bad;
    EXPECT_THROW(utf16_from_utf8(std::string_view("a\0b", 3)), Error);
}

TEST(Utf16, AnOddByteAtTheEndIsNotRead) {
    EXPECT_EQ(utf8_from_utf16(as_bytes(std::string_view("a\0b", 3))).utf8, "a");
}

}  // namespace
}  // namespace dupengine::test
