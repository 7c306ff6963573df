#include "cli/disk_pairs.h"

#include <gtest/gtest.h>

namespace dupengine::cli {
namespace {

using Pair = std::pair<std::string, std::string>;

Pair map(const std::string& text) {
    const engine::PathPair pair = parse_map(text);
    return {pair.source, pair.target};
}

bool is_usage_error(const std::string& source, const std::string& target,
                    const std::vector<std::string>& maps) {
    try {
        find_pairs(source, target, maps);
    } catch (const Error& e) {
        return e.code() == Code::kUsage;
    }
    return false;
}

TEST(DiskPairs, AMapIsSplitAtItsFirstEqualsSign) {
    EXPECT_EQ(map("/dev/sda=/dev/sdb"), Pair("/dev/sda", "/dev/sdb"));
    EXPECT_EQ(map("a=b=c"), Pair("a", "b=c"));
}

TEST(DiskPairs, AnEqualsSignInANameIsWrittenWithABackslash) {
    EXPECT_EQ(map("a\\=b=c"), Pair("a=b", "c"));
    EXPECT_EQ(map("a=b\\=c"), Pair("a", "b=c"));
}

TEST(DiskPairs, OtherBackslashesAreOfTheName) {
    // As udev writes a label with a space and one with '='.
    EXPECT_EQ(map("/dev/disk/by-label/my\\x20disk=/dev/sdb"),
              Pair("/dev/disk/by-label/my\\x20disk", "/dev/sdb"));
    EXPECT_TRUE(is_usage_error("", "", {"a\\=b"})) << "there is no end of SOURCE";
}

TEST(DiskPairs, HalfAPairIsAUsageError) {
    for (const char* text : {"", "=", "a", "a=", "=b"})
        EXPECT_TRUE(is_usage_error("", "", {text})) << text;
    EXPECT_TRUE(is_usage_error("", "", {}));
    EXPECT_TRUE(is_usage_error("a", "", {}));
    EXPECT_TRUE(is_usage_error("a", "", {"b=c"}));
    EXPECT_TRUE(is_usage_error("a", "b", {"c=d"}));
}

TEST(DiskPairs, AQuestionNamesEveryTarget) {
    EXPECT_EQ(name_targets(find_pairs("a", "b", {})), "b");
    EXPECT_EQ(name_targets(find_pairs("", "", {"a=b", "c=d"})), "b, d");
}

}  // namespace
}  // namespace dupengine::cli
