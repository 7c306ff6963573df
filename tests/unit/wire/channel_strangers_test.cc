// What a peer that does not keep to the rules of the channel costs, and that it is not let in.

#include <thread>

#include "tests/unit/wire/channel_fixture.h"
#include "wire/tls_stream.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::memory_transports;
using test::TestPki;
using ::testing::HasSubstr;

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
    EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);

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
    // A certificate that nobody but itself vouches for.
    void show_self_signed(std::uint64_t seed) {
        SeededRandom random(seed);
        const KeyPtr key = make_key();
        const CertificatePtr certificate = make_authority(*key, "impostor", TestPki::now(), random);
        ASSERT_EQ(SSL_CTX_use_certificate(settings(), certificate.get()), 1);
        ASSERT_EQ(SSL_CTX_use_PrivateKey(settings(), key.get()), 1);
    }
    void speak_no_newer_than_tls12() {
        ASSERT_EQ(SSL_CTX_set_min_proto_version(settings(), TLS1_2_VERSION), 1);
        ASSERT_EQ(SSL_CTX_set_max_proto_version(settings(), TLS1_2_VERSION), 1);
    }
    // What accept_channel or connect_channel says of it.
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
        return outcome_of([&] {
            return role_ == TlsRole::kConnects ? accept_channel(std::move(ours), own, {.handshake = 5s})
                                               : connect_channel(std::move(ours), own, {.handshake = 5s});
        });
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
    old.speak_no_newer_than_tls12();
    const Outcome outcome = old.meet(*b_, "dupengine/1");
    EXPECT_EQ(outcome.code, Code::kPeer);
    EXPECT_THAT(outcome.message, HasSubstr("does not speak TLS 1.3"));
}

// Whoever the liar is: the one who connects has as much to lose as the one who waits.
TEST_F(ChannelTest, WhoConnectsTakesNoLessThanWhoWaits) {
    OtherTls newer(TlsRole::kAccepts, "dupengine/2");
    newer.show(a_->folder());
    EXPECT_EQ(newer.meet(*b_, "dupengine/2").code, Code::kPeer);

    OtherTls silent(TlsRole::kAccepts, "dupengine/1");
    silent.show(a_->folder());
    SSL_CTX_set_alpn_select_cb(silent.settings(), nullptr, nullptr);
    EXPECT_EQ(silent.meet(*b_, "").code, Code::kPeer);

    OtherTls old(TlsRole::kAccepts, "dupengine/1");
    old.show(a_->folder());
    old.speak_no_newer_than_tls12();
    EXPECT_EQ(old.meet(*b_, "dupengine/1").code, Code::kPeer);

    const std::string expired = pki_.enrol({.name = "c", .validity = TestPki::now(3600, -1800)});
    OtherTls late(TlsRole::kAccepts, "dupengine/1");
    late.show(expired);
    EXPECT_EQ(late.meet(*b_, "dupengine/1").code, Code::kAuthenticity);
}

TEST_F(ChannelTest, ACertificateThatNobodyVouchesForIsNotTaken) {
    for (const TlsRole role : {TlsRole::kConnects, TlsRole::kAccepts}) {
        OtherTls impostor(role, "dupengine/1");
        impostor.show_self_signed(7);
        const Outcome outcome = impostor.meet(*b_, "dupengine/1");
        EXPECT_EQ(outcome.channel, nullptr);
        EXPECT_EQ(outcome.code, Code::kAuthenticity) << outcome.message;
    }
}

// All that one side of a channel sent, once more: to the other one it proves nothing.
TEST_F(ChannelTest, AConversationThatWasOverheardOpensNothing) {
    class Tapped final : public Transport {
      public:
        Tapped(std::unique_ptr<Transport> other, Bytes& sent) : other_(std::move(other)), sent_(sent) {}
        void send(std::span<const std::byte> bytes, Deadline deadline) override {
            sent_.insert(sent_.end(), bytes.begin(), bytes.end());
            other_->send(bytes, deadline);
        }
        std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
            return other_->receive(buffer, deadline);
        }
        void close() noexcept override { other_->close(); }
        const std::string& name() const override { return other_->name(); }

      private:
        std::unique_ptr<Transport> other_;
        Bytes& sent_;
    };
    Bytes of_caller, of_waiter;
    auto ends = memory_transports();
    ends.first = std::make_unique<Tapped>(std::move(ends.first), of_caller);
    ends.second = std::make_unique<Tapped>(std::move(ends.second), of_waiter);
    ASSERT_NE(shake_hands(*a_, *b_, std::move(ends)).connected.channel, nullptr);
    EXPECT_EQ(accept_after(*b_, of_caller, true, 5s).code, Code::kPeer);
    auto [ours, theirs] = memory_transports();
    theirs->send(of_waiter, after(5s));
    EXPECT_EQ(outcome_of([&, end = &ours] {
                  return connect_channel(std::move(*end), *a_, {.handshake = 5s});
              }).code,
              Code::kPeer);
}

TEST_F(ChannelTest, WhoShowsNoCertificateIsNotTaken) {
    const Outcome outcome = OtherTls(TlsRole::kConnects, "dupengine/1").meet(*b_, "dupengine/1");
    EXPECT_EQ(outcome.code, Code::kAuthenticity);
    EXPECT_THAT(outcome.message, HasSubstr("not enrolled"));
}

}  // namespace
}  // namespace dupengine::wire
