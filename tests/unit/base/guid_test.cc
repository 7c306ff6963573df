#include "base/guid.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace dupengine {
namespace {

TEST(Guid, TextAndDiskOrderAreThoseOfUefi) {
    const Guid efi = Guid::parse("C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
    EXPECT_EQ(efi.text(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    EXPECT_EQ(to_hex(efi.bytes), "28732ac11ff8d211ba4b00a0c93ec93b");
    EXPECT_EQ(Guid::from_disk(efi.bytes), efi);
}

TEST(Guid, WhatIsNotAGuidIsRefused) {
    for (const char* text :
         {"", "c12a7328", "c12a7328-f81f-11d2-ba4b-00a0c93ec93", "g12a7328-f81f-11d2-ba4b-00a0c93ec93b",
          "c12a7328xf81f-11d2-ba4b-00a0c93ec93b", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b "})
        EXPECT_THROW(Guid::parse(text), Error) << text;
}

TEST(Guid, ADrawnGuidIsOfVersion4) {
    SeededRandom random(1);
    for (int i = 0; i < 64; ++i) {
        const std::string text = random.guid().text();
        EXPECT_EQ(text[14], '4') << text;
        EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace dupengine
