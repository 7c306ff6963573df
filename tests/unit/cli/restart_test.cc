// What the small system is told, which a running one is left for.

#include "cli/restart.h"

#include <gtest/gtest.h>

namespace dupengine::cli {
namespace {

constexpr const char* kCurrent =
    "root=UUID=8f0c ro console=tty0 console=ttyS0,115200 memmap=64K!0x9e000000 quiet dupengine.live "
    "init=/x\n";
const auto kNetwork = [] { return std::string("ip=10.0.0.5::10.0.0.1:255.255.255.0:::"); };

TEST(ReceptionWords, KeepTheConsoleAndTheMemoryAndNothingElse) {
    EXPECT_EQ(reception_words({{"/dev/vda"}, "", false, {}}, kCurrent, kNetwork, ""),
              "console=tty0 console=ttyS0,115200 memmap=64K!0x9e000000 "
              "ip=10.0.0.5::10.0.0.1:255.255.255.0::: dupengine.receive=/dev/vda");
}

TEST(ReceptionWords, SayWhomToWaitForAndWhere) {
    NextReception reception{{"/dev/vda", "/dev/vdb"}, "10.0.0.5:7000", true, {}};
    reception.peers.names = {"golden", "spare"};
    EXPECT_EQ(reception_words(reception, "", kNetwork, ""),
              "ip=10.0.0.5::10.0.0.1:255.255.255.0::: dupengine.receive=/dev/vda dupengine.receive=/dev/vdb "
              "dupengine.live "
              "dupengine.peer=golden dupengine.peer=spare dupengine.listen=10.0.0.5:7000");
}

TEST(ReceptionWords, OfAPersonOverruleTheNetworkOfThisMachine) {
    EXPECT_EQ(reception_words({{"/dev/vda"}, "", false, {}}, "", kNetwork, "panic=10 ip=dhcp"),
              "dupengine.receive=/dev/vda panic=10 ip=dhcp");
}

TEST(ReceptionWords, ThatOnlyLookLikeANetworkOverruleNothing) {
    EXPECT_EQ(reception_words({{"/dev/vda"}, "", false, {}}, "", kNetwork, "skip=1"),
              "ip=10.0.0.5::10.0.0.1:255.255.255.0::: dupengine.receive=/dev/vda skip=1");
}

TEST(ReceptionWords, NeverSaySomethingElseThanWasMeant) {
    for (const char* disk : {"/dev/a b", "/dev/\"a", "/dev/a\\"})
        EXPECT_THROW(reception_words({{disk}, "", false, {}}, "", kNetwork, ""), Error) << disk;
}

}  // namespace
}  // namespace dupengine::cli
