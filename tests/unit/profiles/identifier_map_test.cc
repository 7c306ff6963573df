#include "profiles/references/identifier_map.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace dupengine::profiles {
namespace {

constexpr const char* kOldUuid = "a1b2c3d4-1111-4222-8333-444455556666";
constexpr const char* kNewUuid = "0f0f0f0f-9999-4888-8777-666655554444";

IdentifierMap full_map() {
    IdentifierMap map;
    map.add(kOldUuid, kNewUuid);
    map.add("C0DE-1234", "FEED-5678");
    map.add("deadbeef-02", "cafe0000-02");
    map.add("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    return map;
}

TEST(IdentifierMap, FindsAUuidInEveryPlaceWhereSystemsWriteOne) {
    const IdentifierMap map = full_map();
    const std::string old_text = kOldUuid, new_text = kNewUuid;
    for (const std::string before :
         {"UUID=", "/dev/disk/by-uuid/", "root=UUID=", "\"", "--fs-uuid ", "by-uuid\\x2f", ""})
        EXPECT_EQ(map.rewrite(before + old_text + " x"), before + new_text + " x");
    EXPECT_EQ(map.rewrite("A1B2C3D4-1111-4222-8333-444455556666"), "0F0F0F0F-9999-4888-8777-666655554444");
}

TEST(IdentifierMap, FindsUnitNamesThatSystemdEscaped) {
    const IdentifierMap map = full_map();
    EXPECT_EQ(map.rewrite("dev-disk-by\\x2duuid-a1b2c3d4\\x2d1111\\x2d4222\\x2d8333\\x2d444455556666.swap"),
              "dev-disk-by\\x2duuid-0f0f0f0f\\x2d9999\\x2d4888\\x2d8777\\x2d666655554444.swap");
    EXPECT_EQ(map.rewrite("dev-disk-by\\x2duuid-C0DE\\x2d1234.device"),
              "dev-disk-by\\x2duuid-FEED\\x2d5678.device");
}

TEST(IdentifierMap, AShortIdInsideALongerWordIsSomethingElse) {
    const IdentifierMap map = full_map();
    for (const std::string text :
         {"9999C0DE-1234-5678-9abc-def012345678", "xC0DE-1234", "C0DE-12345", "C0DE-1234-1", "9-C0DE-1234",
          "adeadbeef-02", "deadbeef-020", "00123456789abcdef0123456789abcdef", "9a1bC0DE\\x2d1234\\x2d4222"})
        EXPECT_EQ(map.rewrite(text), text);
    EXPECT_EQ(map.rewrite("UUID=C0DE-1234 "), "UUID=FEED-5678 ");
    EXPECT_EQ(map.rewrite("PARTUUID=deadbeef-02"), "PARTUUID=cafe0000-02");
    EXPECT_EQ(map.rewrite("/0123456789abcdef0123456789abcdef-6.1.conf"),
              "/fedcba9876543210fedcba9876543210-6.1.conf");
}

TEST(IdentifierMap, SeesUtf16WhichOnlyProgramsWrite) {
    std::string wide;
    for (const char* c = kOldUuid; *c != '\0'; ++c)
        (wide += *c) += '\0';
    const IdentifierMap map = full_map();
    const auto hits = map.find(wide);
    ASSERT_EQ(hits.size(), 1u);
    EXPECT_TRUE(hits[0].wide);
    EXPECT_FALSE(is_text(wide));
}

TEST(IdentifierMap, IdentifiersMayChangePlacesInOnePass) {
    IdentifierMap map;
    map.add("AAAA-0001", "BBBB-0002");
    map.add("BBBB-0002", "AAAA-0001");
    EXPECT_EQ(map.rewrite("AAAA-0001 BBBB-0002"), "BBBB-0002 AAAA-0001");
}

TEST(IdentifierMap, FindsAtEveryOffsetOfRandomBytes) {
    const IdentifierMap map = full_map();
    SeededRandom random(7);
    for (std::size_t offset = 0; offset < 300; ++offset) {
        std::string text(400, ' ');
        for (char& c : text)
            c = static_cast<char>(random.below(256));
        text.replace(offset, 36, kOldUuid);
        const auto hits = map.find(text);
        ASSERT_EQ(hits.size(), 1u) << offset;
        EXPECT_EQ(hits[0].offset, offset);
    }
}

TEST(IdentifierMap, AnEmptyMapOrTextHoldsNothing) {
    EXPECT_TRUE(IdentifierMap().find("anything").empty());
    EXPECT_TRUE(full_map().find("").empty());
    EXPECT_TRUE(full_map().find("short").empty());
    IdentifierMap same;
    same.add("AAAA-0001", "aaaa-0001");
    EXPECT_TRUE(same.empty());
}

}  // namespace
}  // namespace dupengine::profiles
