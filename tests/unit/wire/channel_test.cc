// The channel between two enrolled machines, over connections in memory: who is let in, and what a peer that
// does not keep to the rules costs.

#include "wire/channel.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <ctime>
#include <future>
#include <thread>

#include "tests/support/memory_transport.h"
#include "tests/support/test_pki.h"
#include "wire/tls_stream.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::memory_transports;
using test::TestPki;
using ::testing::HasSubstr;

// What became of a handshake on one side.
struct Outcome {
    std::unique_ptr<Channel> channel;
    Code code = Code::kInternal;
    std::string message;
};

template <typename Open>
Outcome outcome_of(Open open) {
    try {
        return {open(), Code::kInternal, ""};
    } catch (const Error& e) {
        return {nullptr, e.code(), e.what()};
    }
}

struct Both {
    Outcome connected, accepted;
};

Both shake_hands(const Credentials& connects, const Credentials& accepts, test::TransportPair ends,
                 const ChannelOptions& options = {}) {
    auto accepted = std::async(std::launch::async, [&] {
        return outcome_of([&] { return accept_channel(std::move(ends.second), accepts, {}); });
    });
    Both both;
    both.connected = outcome_of([&] { return connect_channel(std::move(ends.first), connects, options); });
    both.accepted = accepted.get();
    return both;
}

Both shake_hands(const Credentials& connects, const Credentials& accepts) {
    return shake_hands(connects, accepts, memory_transports());
}

Bytes some_bytes(std::size_t size, std::uint64_t seed) {
    Bytes bytes(size);
    SeededRandom(seed).fill(bytes);
    return bytes;
}

class ChannelTest : public ::testing::Test {
  protected:
    // Both sides fail for a reason of trust; the side that judges says `why`.
    void expect_not_taken(const Both& both, const std::string& why, bool accepting_side_judges = true) {
        EXPECT_EQ(both.connected.channel, nullptr);
        EXPECT_EQ(both.accepted.channel, nullptr);
        EXPECT_EQ(both.connected.code, Code::kAuthenticity) << both.connected.message;
        EXPECT_EQ(both.accepted.code, Code::kAuthenticity) << both.accepted.message;
        EXPECT_THAT(accepting_side_judges ? both.accepted.message : both.connected.message, HasSubstr(why));
        EXPECT_THAT(accepting_side_judges ? both.connected.message : both.accepted.message,
                    HasSubstr("does not take our certificate"));
    }

    TestPki pki_;
    std::unique_ptr<Credentials> a_ = pki_.credentials("a"), b_ = pki_.credentials("b");
};

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
    const Both wrong = shake_hands(*a_, *b_, memory_transports(), {.expected_name = "c"});
    EXPECT_EQ(wrong.connected.code, Code::kAuthenticity);
    EXPECT_THAT(wrong.connected.message, HasSubstr("is b, not c"));
    EXPECT_NE(shake_hands(*a_, *b_, memory_transports(), {.expected_name = "b"}).connected.channel, nullptr);
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

// What comes from somebody who does not keep to the rules, as the first bytes of a connection.
Outcome accept_after(const Credentials& own, std::span<const std::byte> bytes, bool stays,
                     std::chrono::milliseconds patience) {
    auto [ours, theirs] = memory_transports();
    std::jthread other([&, end = theirs.get()] {
        try {
            end->send(bytes, after(5s));
        } catch (const Error&) {
            // It was thrown out.
        }
        if (!stays) end->close();
    });
    return outcome_of([&] { return accept_channel(std::move(ours), own, {.handshake = patience}); });
}

TEST_F(ChannelTest, PlainTextAndNoiseAreNotAnswered) {
    const auto plain = as_bytes("GET / HTTP/1.1\r\nHost: golden\r\n\r\n");
    EXPECT_THAT(accept_after(*b_, plain, true, 5s).message, HasSubstr("HTTP"));
    EXPECT_EQ(accept_after(*b_, as_bytes("hello, who is there?\n"), true, 5s).code, Code::kPeer);
    for (std::uint64_t seed = 1; seed <= 50; ++seed)
        EXPECT_EQ(accept_after(*b_, some_bytes(2000, seed), false, 5s).code, Code::kPeer) << seed;
}

TEST_F(ChannelTest, SilenceEndsAtTheDeadline) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THAT(accept_after(*b_, {}, true, 200ms).message, HasSubstr("silent"));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);

    const Both both = shake_hands(*a_, *b_);
    Bytes got(1);
    EXPECT_THROW(both.accepted.channel->receive(got, after(50ms)), Error);
    const Bytes much(4 * kMiB);
    EXPECT_THROW(both.accepted.channel->send(much, after(200ms)), Error) << "nobody reads it";
}

// A handshake message of 16 MiB, as its header says, that goes on and on.
TEST_F(ChannelTest, AHelloWithoutEndIsCutOff) {
    Bytes hello;
    for (int record = 0; record < 64; ++record) {
        for (const int byte : {0x16, 0x03, 0x01, 0x40, 0x00})
            hello.push_back(static_cast<std::byte>(byte));
        const Bytes body(0x4000, std::byte{0});
        hello.insert(hello.end(), body.begin(), body.end());
    }
    for (const std::size_t announced : {std::size_t{0xffffff}, std::size_t{0x1ffff}}) {
        hello[5] = std::byte{1};
        hello[6] = static_cast<std::byte>(announced >> 16);
        hello[7] = static_cast<std::byte>(announced >> 8);
        hello[8] = static_cast<std::byte>(announced);
        EXPECT_EQ(accept_after(*b_, hello, true, 5s).code, Code::kPeer);
    }
}

// Another program's TLS, over a connection in memory.
class OtherTls {
  public:
    OtherTls(TlsRole role, const char* alpn) : context_(make_tls_context(role, alpn)), role_(role) {}
    SSL_CTX* settings() { return context_.get(); }
    void show(const std::string& folder) {
        const Enrolment enrolment = read_enrolment(PeerFiles(folder));
        ASSERT_EQ(SSL_CTX_use_certificate(settings(), enrolment.certificate.get()), 1);
        ASSERT_EQ(SSL_CTX_use_PrivateKey(settings(), enrolment.key.get()), 1);
    }
    // What accept_channel says of it.
    Outcome meet(const Credentials& own, const std::string& alpn) {
        auto [ours, theirs] = memory_transports();
        TlsStream stream(std::move(theirs), *context_, role_);
        std::jthread other([&] {
            try {
                stream.handshake(after(5s), alpn);
                Bytes rest(1000);
                static_cast<void>(stream.receive(rest, after(5s)));
            } catch (const Error&) {
                stream.close();
            }
        });
        return outcome_of([&] { return accept_channel(std::move(ours), own, {.handshake = 5s}); });
    }

  private:
    ContextPtr context_;
    TlsRole role_;
};

TEST_F(ChannelTest, AnotherProtocolOrVersionOfItFailsTheHandshake) {
    OtherTls newer(TlsRole::kConnects, "dupengine/2");
    newer.show(a_->folder());
    const Outcome outcome = newer.meet(*b_, "dupengine/2");
    EXPECT_EQ(outcome.code, Code::kPeer);
    EXPECT_THAT(outcome.message, HasSubstr("another protocol"));

    OtherTls silent(TlsRole::kConnects, "dupengine/1");
    silent.show(a_->folder());
    ASSERT_EQ(SSL_CTX_set_alpn_protos(silent.settings(), nullptr, 0), 0);
    EXPECT_EQ(silent.meet(*b_, "").code, Code::kPeer);
}

TEST_F(ChannelTest, OlderTlsFailsTheHandshake) {
    OtherTls old(TlsRole::kConnects, "dupengine/1");
    old.show(a_->folder());
    ASSERT_EQ(SSL_CTX_set_min_proto_version(old.settings(), TLS1_2_VERSION), 1);
    ASSERT_EQ(SSL_CTX_set_max_proto_version(old.settings(), TLS1_2_VERSION), 1);
    const Outcome outcome = old.meet(*b_, "dupengine/1");
    EXPECT_EQ(outcome.code, Code::kPeer);
    EXPECT_THAT(outcome.message, HasSubstr("does not speak TLS 1.3"));
}

TEST_F(ChannelTest, WhoShowsNoCertificateIsNotTaken) {
    const Outcome outcome = OtherTls(TlsRole::kConnects, "dupengine/1").meet(*b_, "dupengine/1");
    EXPECT_EQ(outcome.code, Code::kAuthenticity);
    EXPECT_THAT(outcome.message, HasSubstr("not enrolled"));
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
