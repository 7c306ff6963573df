// The channel between two enrolled machines, over connections in memory: who is let in.

#include <sys/stat.h>

#include <ctime>
#include <thread>

#include "tests/unit/wire/channel_fixture.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::memory_transports;
using test::TestPki;
using ::testing::HasSubstr;

TEST_F(ChannelTest, TwoEnrolledMachinesKnowEachOther) {
    const Both both = shake_hands(*a_, *b_);
    ASSERT_NE(both.connected.channel, nullptr) << both.connected.message;
    ASSERT_NE(both.accepted.channel, nullptr) << both.accepted.message;
    EXPECT_EQ(both.connected.channel->peer(), b_->identity());
    EXPECT_EQ(both.accepted.channel->peer(), a_->identity());
    EXPECT_EQ(both.accepted.channel->peer().name, "a");
    EXPECT_THAT(both.connected.channel->cipher(), ::testing::StartsWith("TLS_"));
}

TEST_F(ChannelTest, EveryByteArrivesInBothDirectionsAtOnceAcrossManyKeys) {
    const std::size_t size = 3 * kMiB + 17;
    auto both = shake_hands(*a_, *b_, memory_transports(), {.key_update_bytes = 200'000});
    ASSERT_NE(both.connected.channel, nullptr) << both.connected.message;
    ASSERT_NE(both.accepted.channel, nullptr) << both.accepted.message;
    const auto pass = [&](Channel& channel, std::uint64_t seed) {
        return std::jthread([&channel, seed] {
            const Bytes bytes = some_bytes(size, seed);
            channel.send(bytes, after(20s));
        });
    };
    const auto compare = [&](Channel& channel, std::uint64_t seed) {
        Bytes got(size);
        receive_exact(channel, got, after(20s));
        EXPECT_TRUE(got == some_bytes(size, seed));
    };
    const auto there = pass(*both.connected.channel, 1), back = pass(*both.accepted.channel, 2);
    std::jthread other([&] { compare(*both.accepted.channel, 1); });
    compare(*both.connected.channel, 2);
    other.join();
    EXPECT_GT(both.connected.channel->bytes_sent(), size);
    EXPECT_LT(both.connected.channel->bytes_sent(), size + size / 100 + 10'000);
    EXPECT_EQ(both.connected.channel->bytes_sent(), both.accepted.channel->bytes_received());
}

TEST_F(ChannelTest, AnAnnouncedEndIsAnEndAndACutIsNot) {
    auto both = shake_hands(*a_, *b_);
    std::jthread other([&] { both.accepted.channel->finish(after(10s)); });
    both.connected.channel->finish(after(10s));
    other.join();
    EXPECT_THROW(both.connected.channel->send(some_bytes(1, 1), after(1s)), Error);

    both = shake_hands(*a_, *b_);
    both.connected.channel->send(some_bytes(10, 1), after(10s));
    both.connected.channel->close();
    Bytes got(10);
    receive_exact(*both.accepted.channel, got, after(10s));
    EXPECT_THROW(both.accepted.channel->receive(got, after(10s)), Error) << "a cut looks like an end";
}

TEST_F(ChannelTest, AMachineOfAnotherAuthorityIsNotTaken) {
    TestPki other(2);
    const auto stranger = other.credentials("a");
    const Both both = shake_hands(*stranger, *b_);
    // The one that connects judges first here: neither takes the other.
    EXPECT_EQ(both.connected.code, Code::kAuthenticity) << both.connected.message;
    EXPECT_EQ(both.accepted.code, Code::kAuthenticity) << both.accepted.message;
    EXPECT_THAT(both.connected.message, HasSubstr("enrolled by another authority"));
    EXPECT_THAT(both.accepted.message, HasSubstr("enrolled by another authority"));
}

TEST_F(ChannelTest, ACertificateForAnotherUseIsNotTaken) {
    const Credentials server_only(
        pki_.enrol({.name = "c", .validity = TestPki::now(), .extended_usage = "serverAuth"}));
    const Credentials client_only(
        pki_.enrol({.name = "d", .validity = TestPki::now(), .extended_usage = "clientAuth"}));
    expect_not_taken(shake_hands(server_only, *b_), "for another use");
    expect_not_taken(shake_hands(*a_, client_only), "for another use", false);
}

TEST_F(ChannelTest, AnExpiredOrEarlyCertificateIsNotTakenByAnybody) {
    for (const Validity bad : {TestPki::now(3600, -1800), TestPki::now(-1800, 3600)}) {
        const std::string folder = pki_.enrol({.name = "c", .validity = bad});
        EXPECT_THROW(Credentials{folder}, Error);
        // Its owner is told before it connects; who does not look is told by the other side.
        const auto unchecked = Credentials::unchecked(folder);
        const Both both = shake_hands(*unchecked, *b_);
        expect_not_taken(both, bad.end < std::time(nullptr) ? "expired" : "not valid yet");
    }
}

TEST_F(ChannelTest, ARevokedMachineIsNotTaken) {
    pki_.revoke("a", b_->folder());
    expect_not_taken(shake_hands(*a_, *b_), "revoked");
    expect_not_taken(shake_hands(*b_, *a_), "revoked", false);
}

TEST_F(ChannelTest, WhoTalksToAMachineThatKnowsOfARevocationKnowsItThen) {
    const auto c = pki_.credentials("c");
    pki_.revoke("c", b_->folder());
    ASSERT_NE(shake_hands(*c, *a_).accepted.channel, nullptr) << "a cannot know it yet";
    ASSERT_NE(shake_hands(*a_, *b_).connected.channel, nullptr);
    expect_not_taken(shake_hands(*c, *a_), "revoked");
    EXPECT_EQ(shake_hands(*a_, *c).connected.channel, nullptr);
}

TEST_F(ChannelTest, AnOlderListDoesNotTakeTheNewerOnesPlace) {
    const std::string old = read_file(PeerFiles(b_->folder()).revoked(), Code::kInternal);
    pki_.revoke("c", b_->folder());
    const std::string newer = read_file(PeerFiles(b_->folder()).revoked(), Code::kInternal);
    learn_revoked(PeerFiles(b_->folder()), pki_.authority(), old, "a test");
    EXPECT_EQ(read_file(PeerFiles(b_->folder()).revoked(), Code::kInternal), newer);
    EXPECT_THROW(learn_revoked(PeerFiles(b_->folder()), TestPki(2).authority(), newer, "a test"), Error);
}

TEST_F(ChannelTest, WithoutItsListAMachineTakesNobody) {
    ASSERT_EQ(std::remove(PeerFiles(b_->folder()).revoked().c_str()), 0);
    EXPECT_EQ(shake_hands(*a_, *b_).accepted.code, Code::kAuthenticity);
    EXPECT_THROW(Credentials{b_->folder()}, Error);
}

TEST_F(ChannelTest, OnlyTheMachineThatWasNamedIsTaken) {
    const Both wrong = shake_hands(*a_, *b_, memory_transports(), {.expected_names = {"c", "d"}});
    EXPECT_EQ(wrong.connected.code, Code::kAuthenticity);
    EXPECT_THAT(wrong.connected.message, HasSubstr("is b, not c"));
    EXPECT_NE(shake_hands(*a_, *b_, memory_transports(), {.expected_names = {"c", "b"}}).connected.channel,
              nullptr);
}

TEST_F(ChannelTest, AKeyThatOthersCanReadIsNotUsed) {
    ASSERT_EQ(::chmod(PeerFiles(a_->folder()).enrolment().c_str(), 0640), 0);
    try {
        const Credentials credentials(a_->folder());
        FAIL() << "it was used";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr("chmod 600"));
    }
}

TEST_F(ChannelTest, BytesThatComeOneByOneMakeNoDifference) {
    const Both both = shake_hands(*a_, *b_, memory_transports({.piece = 1}));
    ASSERT_NE(both.connected.channel, nullptr) << both.connected.message;
    both.connected.channel->send(some_bytes(1000, 3), after(10s));
    Bytes got(1000);
    receive_exact(*both.accepted.channel, got, after(10s));
    EXPECT_TRUE(got == some_bytes(1000, 3));
}

// Every byte of a handshake is the last one that arrives once: nobody hangs, nobody is taken in.
TEST_F(ChannelTest, AConnectionThatBreaksAtAnyByteOfTheHandshakeEndsOnBothSides) {
    auto ends = memory_transports();
    const wire::Transport* const first = ends.first.get();
    const wire::Transport* const second = ends.second.get();
    const Both whole = shake_hands(*a_, *b_, std::move(ends));
    const std::uint64_t sent = test::bytes_sent(*first), answered = test::bytes_sent(*second);
    ASSERT_GT(sent, 1000u);
    for (std::uint64_t cut = 0; cut < std::max(sent, answered); cut += 7) {
        // Signatures vary by a few bytes, so the last ones may not be part of it.
        for (const bool of_first : {true, false}) {
            if (cut + 16 >= (of_first ? sent : answered)) continue;
            const Both both = shake_hands(
                *a_, *b_,
                of_first ? memory_transports({.first_cut = cut}) : memory_transports({.second_cut = cut}));
            EXPECT_EQ(both.accepted.channel, nullptr) << "cut at " << cut;
            EXPECT_EQ(both.accepted.code, Code::kPeer) << both.accepted.message;
            if (both.connected.channel == nullptr) {
                EXPECT_EQ(both.connected.code, Code::kPeer) << both.connected.message;
            }
        }
    }
}

TEST_F(ChannelTest, WhoIsRevokedMeanwhileIsCutOff) {
    auto both = shake_hands(*a_, *b_, memory_transports(), {.revocation_age = 0ms});
    ASSERT_NE(both.connected.channel, nullptr) << both.connected.message;
    Channel &here = *both.connected.channel, &there = *both.accepted.channel;
    const Bytes word = some_bytes(8, 1);
    here.send(word, after(5s));
    pki_.revoke("b", a_->folder());
    there.send(word, after(5s));
    Bytes buffer(8);
    try {
        static_cast<void>(here.receive(buffer, after(5s)));
        ADD_FAILURE() << "a revoked machine is still heard";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kAuthenticity);
        EXPECT_THAT(e.what(), HasSubstr("b was revoked meanwhile"));
    }
    EXPECT_THROW(here.send(word, after(5s)), Error);
    EXPECT_THROW(while (there.receive(buffer, after(5s)) != 0){}, Error) << "it was not cut off";
}

TEST_F(ChannelTest, AListFromTheFutureSaysToSetTheClock) {
    const std::int64_t soon = TestPki::now(0, 7200).end;
    const RevocationListPtr list = make_revocation_list({}, 2, soon, pki_.key(), pki_.authority());
    write_revoked(PeerFiles(b_->folder()), *list, FolderLock(b_->folder()));
    const Both both = shake_hands(*a_, *b_);
    EXPECT_EQ(both.accepted.code, Code::kAuthenticity);
    EXPECT_THAT(both.accepted.message, HasSubstr("set the clock"));
}

}  // namespace
}  // namespace dupengine::wire
