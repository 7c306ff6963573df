// Where another machine is, and where this one waits, as people write it.

#include <gtest/gtest.h>

#include "base/error.h"
#include "wire/tcp.h"

namespace dupengine::wire {
namespace {

TEST(ListeningAddress, WhoNamesNoneWaitsOnAllOfThem) {
    const Address address = parse_listening_address("", kPeerPort);
    EXPECT_EQ(address.host, "");
    EXPECT_EQ(address.port, kPeerPort);
    EXPECT_NE(Listener(parse_listening_address(":0", kPeerPort)).address().port, 0);
}

TEST(ListeningAddress, OneThatIsNamedIsTakenAsItIs) {
    EXPECT_EQ(parse_listening_address("[::1]:7000", kPeerPort).text(), "[::1]:7000");
    EXPECT_EQ(parse_listening_address("127.0.0.1", kPeerPort).text(), "127.0.0.1:7433");
}

TEST(PeerAddress, HasToBeNamed) {
    EXPECT_THROW(parse_address("", kPeerPort), Error);
}

}  // namespace
}  // namespace dupengine::wire
