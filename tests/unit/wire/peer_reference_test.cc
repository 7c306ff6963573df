#include "wire/peer_reference.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dupengine::wire {
namespace {

TEST(PeerReference, SaysWhichMachineAndWhatOfIt) {
    EXPECT_FALSE(parse_peer_reference("/dev/sda"));
    EXPECT_FALSE(parse_peer_reference("image:/srv#web"));
    const auto plain = parse_peer_reference("dup://lab7");
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->address.text(), "lab7:7433");
    EXPECT_EQ(plain->name, "");
    const auto full = parse_peer_reference("dup://[2001:db8::1]:99/web-1");
    ASSERT_TRUE(full);
    EXPECT_EQ(full->address.text(), "[2001:db8::1]:99");
    EXPECT_EQ(full->name, "web-1");
    EXPECT_EQ(parse_peer_reference("dup://lab7:99/")->name, "");
}

TEST(PeerReference, WhatCanBeNoneIsAUsageError) {
    for (const char* text :
         {"dup://", "dup:///web", "dup://:99/web", "dup://lab7/a/b", "dup://lab7/..", "dup://lab7:0x/a"}) {
        try {
            parse_peer_reference(text);
            ADD_FAILURE() << text;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kUsage) << text;
        }
    }
}

}  // namespace
}  // namespace dupengine::wire
