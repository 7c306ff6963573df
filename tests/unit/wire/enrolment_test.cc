// Enrolment over connections in memory: a token lets exactly one machine in, once.

#include "wire/enrolment.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>
#include <thread>

#include "tests/support/memory_transport.h"
#include "tests/support/scratch.h"
#include "wire/certificates.h"
#include "wire/channel.h"
#include "wire/enrol_messages.h"
#include "wire/enrolment_tls.h"
#include "wire/peer_files.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::memory_transports;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A transport that keeps what went out of it.
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

class EnrolmentTest : public ::testing::Test {
  protected:
    EnrolmentTest() {
        Authority::make(folder("golden"), "golden", random_, clock_);
        authority_.emplace(folder("golden"), random_, clock_);
    }

    std::string folder(const std::string& name) const { return scratch_.file(name); }
    Secret token() const { return parse_token(token_text_); }

    Invitation invite(InviteOptions options = {}) {
        SeededRandom random(++seed_);
        const Secret drawn = draw_token(random);
        token_text_ = token_text(drawn);
        options.patience = 5s;
        return {*authority_, drawn, options, [this](const std::string& line) { log_.push_back(line); }};
    }

    // What became of one machine's try. The other side is `joined_`.
    std::string try_to_join(Invitation& invitation, const Secret& with, const JoinOptions& options,
                            test::TransportPair ends = memory_transports()) {
        auto served =
            std::async(std::launch::async, [&] { return invitation.serve(std::move(ends.second)); });
        std::string message;
        try {
            static_cast<void>(join(std::move(ends.first), with, options));
        } catch (const Error& e) {
            message = e.what();
            code_ = e.code();
        }
        joined_ = served.get();
        return message;
    }

    JoinOptions machine(const std::string& name) const {
        return {.folder = folder(name), .name = name, .host = "localhost", .patience = 5s};
    }

    std::vector<std::string> valid_names() const {
        std::vector<std::string> names;
        for (const Issued& one : authority_->issued())
            if (!one.revoked) names.push_back(one.name);
        return names;
    }

    test::ScratchFolder scratch_;
    SystemRandom random_;
    std::int64_t now_ = Authority::system_time();
    Authority::Clock clock_ = [this] { return now_; };
    std::optional<Authority> authority_;
    std::uint64_t seed_ = 0;
    std::string token_text_;
    std::vector<std::string> log_;
    std::optional<Joined> joined_;
    Code code_ = Code::kInternal;
};

TEST_F(EnrolmentTest, AMachineThatJoinedTalksToTheOneThatInvitedIt) {
    Invitation invitation = invite();
    ASSERT_EQ(try_to_join(invitation, token(), machine("web1")), "");
    ASSERT_TRUE(joined_);
    EXPECT_EQ(joined_->name, "web1");
    EXPECT_TRUE(invitation.is_over());
    EXPECT_THAT(valid_names(), ElementsAre("golden", "web1"));

    const Credentials golden(folder("golden")), web(folder("web1"));
    auto ends = memory_transports();
    auto accepted =
        std::async(std::launch::async, [&] { return accept_channel(std::move(ends.second), web); });
    const auto connected = connect_channel(std::move(ends.first), golden);
    EXPECT_EQ(connected->peer().name, "web1");
    EXPECT_EQ(connected->peer().serial, joined_->serial);
    EXPECT_EQ(accepted.get()->peer().name, "golden");
}

TEST_F(EnrolmentTest, SecretKeysAreForTheirOwnerAlone) {
    Invitation invitation = invite();
    ASSERT_EQ(try_to_join(invitation, token(), machine("web1")), "");
    for (const std::string& path :
         {folder("web1") + "/enrolment.pem", folder("golden") + "/authority/key.pem"}) {
        struct stat info {};
        ASSERT_EQ(::stat(path.c_str(), &info), 0) << path;
        EXPECT_EQ(info.st_mode & 0777, 0600u) << path;
    }
    struct stat info {};
    ASSERT_EQ(::stat(folder("web1").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(EnrolmentTest, AnotherTokenLetsNobodyIn) {
    Invitation invitation = invite();
    SeededRandom random(99);
    EXPECT_THAT(try_to_join(invitation, draw_token(random), machine("web1")),
                HasSubstr("token is not taken"));
    EXPECT_EQ(code_, Code::kAuthenticity);
    EXPECT_FALSE(joined_);
    EXPECT_THAT(log_, ElementsAre(HasSubstr("a connection without the token")));
    EXPECT_THAT(valid_names(), ElementsAre("golden"));
    EXPECT_FALSE(std::filesystem::exists(folder("web1")));
    EXPECT_EQ(try_to_join(invitation, token(), machine("web1")), "") << "the right one still works";
}

TEST_F(EnrolmentTest, ATokenWorksOnce) {
    Invitation invitation = invite();
    ASSERT_EQ(try_to_join(invitation, token(), machine("web1")), "");
    EXPECT_THAT(try_to_join(invitation, token(), machine("web2")), HasSubstr("used already"));
    EXPECT_FALSE(std::filesystem::exists(folder("web2") + "/enrolment.pem"));
    EXPECT_THAT(valid_names(), ElementsAre("golden", "web1"));
}

TEST_F(EnrolmentTest, TwoAtATimeWithOneTokenAreNotBothLetIn) {
    Invitation invitation = invite();
    std::vector<std::future<bool>> tries;
    std::vector<std::thread> servers;
    for (int i = 0; i < 6; ++i) {
        auto ends = memory_transports();
        servers.emplace_back([&invitation, end = std::move(ends.second)]() mutable {
            static_cast<void>(invitation.serve(std::move(end)));
        });
        tries.push_back(
            std::async(std::launch::async, [this, options = machine("w" + std::to_string(i)), with = token(),
                                            end = std::move(ends.first)]() mutable {
                try {
                    static_cast<void>(join(std::move(end), with, options));
                    return true;
                } catch (const Error&) {
                    return false;
                }
            }));
    }
    int in = 0;
    for (auto& one : tries)
        in += one.get() ? 1 : 0;
    for (auto& server : servers)
        server.join();
    EXPECT_EQ(in, 1);
    EXPECT_THAT(valid_names(), SizeIs(2));
}

TEST_F(EnrolmentTest, AnExpiredTokenLetsNobodyIn) {
    Invitation invitation = invite({.lifetime = 0ms});
    EXPECT_NE(try_to_join(invitation, token(), machine("web1")), "");
    EXPECT_TRUE(invitation.is_over());
    EXPECT_THAT(valid_names(), ElementsAre("golden"));
    Listener listener({"127.0.0.1", 0});
    EXPECT_THROW(invitation.wait(listener), Error);
}

// All that the joining machine sent, once more: the answers are different ones, so it proves nothing.
TEST_F(EnrolmentTest, AHandshakeThatWasOverheardIsOfNoUse) {
    Bytes overheard;
    {
        Invitation invitation = invite();
        auto ends = memory_transports();
        ends.first = std::make_unique<Tapped>(std::move(ends.first), overheard);
        ASSERT_EQ(try_to_join(invitation, token(), machine("web1"), std::move(ends)), "");
    }
    --seed_;
    Invitation same_token = invite();
    auto [theirs, ours] = memory_transports();
    theirs->send(overheard, after(5s));
    EXPECT_FALSE(same_token.serve(std::move(ours)));
    EXPECT_THAT(log_.back(), HasSubstr("a use of a token failed"));
    EXPECT_THAT(valid_names(), ElementsAre("golden", "web1"));
}

// Whoever has overheard the name of the key, and does not know the key.
TEST_F(EnrolmentTest, FailedUsesAreBounded) {
    Invitation invitation = invite({.failed_uses = 3});
    SeededRandom random(99);
    const PresharedKey real(token());
    PresharedKey guessed(draw_token(random));
    guessed.identity = real.identity;
    for (int i = 0; i < 3; ++i) {
        EXPECT_FALSE(invitation.is_over());
        auto ends = memory_transports();
        std::jthread guesser([&, end = std::move(ends.first)]() mutable {
            EnrolmentStream stream(std::move(end), guessed, TlsRole::kConnects);
            EXPECT_THROW(stream.handshake(after(5s)), Error);
        });
        EXPECT_FALSE(invitation.serve(std::move(ends.second)));
    }
    EXPECT_TRUE(invitation.is_over());
    EXPECT_NE(try_to_join(invitation, token(), machine("web1")), "") << "the invitation is void";
    EXPECT_THAT(valid_names(), ElementsAre("golden"));
}

TEST_F(EnrolmentTest, WhoNamesAnotherKeyCannotEndAnInvitation) {
    Invitation invitation = invite({.failed_uses = 3});
    SeededRandom random(99);
    for (int i = 0; i < 10; ++i)
        EXPECT_NE(try_to_join(invitation, draw_token(random), machine("web1")), "");
    EXPECT_FALSE(invitation.is_over());
    EXPECT_EQ(try_to_join(invitation, token(), machine("web1")), "");
}

// On a line with a delay, among strangers that connect all the time.
class Slow final : public Transport {
  public:
    explicit Slow(std::unique_ptr<Transport> other) : other_(std::move(other)) {}
    void send(std::span<const std::byte> bytes, Deadline deadline) override {
        if (has_spoken_) std::this_thread::sleep_for(150ms);  // the first follows the connection at once
        has_spoken_ = true;
        other_->send(bytes, deadline);
    }
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
        return other_->receive(buffer, deadline);
    }
    void close() noexcept override { other_->close(); }
    const std::string& name() const override { return other_->name(); }

  private:
    std::unique_ptr<Transport> other_;
    bool has_spoken_ = false;
};

TEST_F(EnrolmentTest, StrangersDoNotCutOffAMachineThatHasItsCertificate) {
    Invitation invitation = invite({.lifetime = 15s});
    Listener listener({"127.0.0.1", 0});
    const auto call = [&] { return connect_tcp(listener.address(), after(5s)); };
    auto waiting = std::async(std::launch::async, [&] { return invitation.wait(listener); });
    std::jthread strangers([&](const std::stop_token& stop) {
        std::vector<std::unique_ptr<Transport>> all;
        for (; !stop.stop_requested(); std::this_thread::sleep_for(10ms))
            all.push_back(call());
    });
    EXPECT_NO_THROW(join(std::make_unique<Slow>(call()), token(), machine("web1")));
    EXPECT_EQ(waiting.get().name, "web1");
    EXPECT_THAT(valid_names(), ElementsAre("golden", "web1"));
}

// What a machine does that dies, or lies, after it got its certificate.
TEST_F(EnrolmentTest, ACertificateThatCouldNotBeTakenBackIsNotSaidToBeRevoked) {
    Invitation invitation = invite({.lifetime = 15s});
    Listener listener({"127.0.0.1", 0});
    auto waiting = std::async(std::launch::async, [&] { return invitation.wait(listener); });
    {
        const PresharedKey shared(token());
        EnrolmentStream connection(connect_tcp(listener.address(), after(5s)), shared, TlsRole::kConnects);
        connection.handshake(after(5s));
        connection.stream().send_block(text_of(JoinMessage{"web1", "h", make_request(*make_key(), "web1")}),
                                       after(5s));
        static_cast<void>(connection.stream().receive_block(kWelcomeMessageLimit, after(5s)));
        std::filesystem::remove(folder("golden") + "/revoked.pem");
    }
    try {
        waiting.get();
        ADD_FAILURE() << "nobody joined";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr("could NOT be revoked"));
        EXPECT_THAT(e.what(), HasSubstr("enrol revoke"));
    }
}

// The disk is full, say. Whoever is told that the new certificate was revoked would leave the old one alone.
TEST_F(EnrolmentTest, AMachineIsEnrolledAlthoughWhoHadItsNameCouldNotBeRevoked) {
    Invitation first = invite();
    ASSERT_EQ(try_to_join(first, token(), machine("web1")), "");
    Invitation invitation = invite({.name = "web1"});
    auto ends = memory_transports();
    auto served = std::async(std::launch::async, [&] { return invitation.serve(std::move(ends.second)); });
    const std::string list = folder("golden") + "/revoked.pem", aside = folder("golden") + "/aside";
    {
        const PresharedKey shared(token());
        EnrolmentStream connection(std::move(ends.first), shared, TlsRole::kConnects);
        connection.handshake(after(5s));
        connection.stream().send_block(text_of(JoinMessage{"web1", "h", make_request(*make_key(), "web1")}),
                                       after(5s));
        static_cast<void>(connection.stream().receive_block(kWelcomeMessageLimit, after(5s)));
        std::filesystem::rename(list, aside);
        connection.stream().send_block("stored", after(5s));
    }
    const std::optional<Joined> joined = served.get();
    ASSERT_TRUE(joined) << "it is enrolled, and nobody says so";
    EXPECT_THAT(joined->not_revoked, HasSubstr("could NOT be revoked"));
    EXPECT_THAT(joined->not_revoked, HasSubstr(joined->serial));
    EXPECT_THAT(log_, ::testing::Contains(joined->not_revoked));
    std::filesystem::rename(aside, list);
    EXPECT_THAT(valid_names(), ElementsAre("golden", "web1", "web1"));
}

TEST_F(EnrolmentTest, WhatAKilledInvitationGaveOutIsRevokedByTheNext) {
    const auto issue = [&](const char* name) {
        return authority_->issue(name, make_request(*make_key(), name), NameInUse::kRefuse);
    };
    issue("lost");
    const Welcome kept = issue("kept");
    EXPECT_TRUE(authority_->issued().back().is_pending);
    authority_->confirm(identity_of(*certificate_from_pem(kept.certificate, "kept")).serial);
    static_cast<void>(invite());
    EXPECT_THAT(valid_names(), ElementsAre("golden", "lost", "kept"))
        << "another invitation may be under way";
    now_ += 301;
    static_cast<void>(invite());
    EXPECT_THAT(valid_names(), ElementsAre("golden", "kept"));
    EXPECT_THAT(log_, ElementsAre(HasSubstr("lost: had a certificate")));
}

TEST_F(EnrolmentTest, AJoinWhoseLastWordWasCutLeavesTheEnrolmentThatWasThere) {
    std::uint64_t sent = 0;
    Bytes all;
    const auto again = [&](test::MemoryTransportOptions cut) {
        JoinOptions options = machine("web1");
        options.replace = true;
        Invitation invitation = invite({.name = "web1"});
        auto ends = memory_transports(cut);
        all.clear();
        ends.first = std::make_unique<Tapped>(std::move(ends.first), all);
        return try_to_join(invitation, token(), options, std::move(ends));
    };
    ASSERT_EQ(again({}), "");
    sent = all.size();
    int put_back = 0;
    for (std::uint64_t cut = sent - 90; cut < sent; cut += 5) {
        const std::string before = Credentials(folder("web1")).identity().serial;
        const std::string message = again({.first_cut = cut});
        const std::string now = Credentials(folder("web1")).identity().serial;
        if (message.empty() || message.find("--replace") != std::string::npos) {
            EXPECT_NE(now, before) << "cut at " << cut << " of " << sent;
            ASSERT_EQ(again({}), "");
        } else {
            ++put_back;
            EXPECT_EQ(now, before) << "cut at " << cut << " of " << sent;
        }
    }
    EXPECT_GT(put_back, 0);
}

// The states between the files that are replaced, when a machine joins another authority.
TEST_F(EnrolmentTest, ACutBetweenTheFilesOfAnEnrolmentLeavesTheOldOrTheNew) {
    Invitation invitation = invite();
    ASSERT_EQ(try_to_join(invitation, token(), machine("web1")), "");
    Authority::make(folder("other"), "other", random_, clock_);
    const std::string web = folder("web1") + "/", other = folder("other") + "/";
    const auto copy = [](const std::string& from, const std::string& to) {
        std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
    };
    copy(other + "revoked.pem", web + "revoked-next.pem");
    EXPECT_EQ(Credentials(folder("web1")).identity().name, "web1") << "the new list is there, no more";
    copy(other + "enrolment.pem", web + "enrolment.pem");
    EXPECT_EQ(Credentials(folder("web1")).identity().name, "other") << "the old list is still there";
    std::filesystem::remove(web + "revoked-next.pem");
    EXPECT_THROW(Credentials(folder("web1")), Error) << "the list of another authority is none";
}

TEST_F(EnrolmentTest, AFolderThatOthersMayWriteToTakesNoEnrolment) {
    std::filesystem::create_directory(folder("open"));
    std::filesystem::permissions(folder("open"), std::filesystem::perms(0777));
    EXPECT_THROW(Authority::make(folder("open"), "x", random_, clock_), Error);
    EXPECT_TRUE(std::filesystem::is_empty(folder("open")));
    const mode_t before = ::umask(0);
    make_private_folder(folder("a") + "/b/c");
    ::umask(before);
    struct stat info {};
    ASSERT_EQ(::stat((folder("a") + "/b").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0755u);
}

TEST_F(EnrolmentTest, StrangersDoNotUseUpAnInvitation) {
    Invitation invitation = invite();
    for (int i = 0; i < 100; ++i) {
        auto [theirs, ours] = memory_transports();
        theirs->send(as_bytes("GET / HTTP/1.0\r\n\r\n"), after(5s));
        theirs->close();
        EXPECT_FALSE(invitation.serve(std::move(ours)));
    }
    EXPECT_THAT(log_, SizeIs(20)) << "a log without end";
    EXPECT_EQ(try_to_join(invitation, token(), machine("web1")), "");
}

// A machine that answers with a certificate instead of the token.
TEST_F(EnrolmentTest, WhoDoesNotKnowTheTokenCannotPlayTheOneWhoInvites) {
    static_cast<void>(invite());
    auto [theirs, ours] = memory_transports();
    std::jthread impostor([&, end = std::move(theirs)]() mutable {
        const ContextPtr context = make_tls_context(TlsRole::kAccepts, kEnrolProtocol);
        const KeyPtr key = make_key();
        const CertificatePtr certificate =
            make_authority(*key, "impostor", {now_ - 100, now_ + 100}, random_);
        EXPECT_EQ(SSL_CTX_use_certificate(context.get(), certificate.get()), 1);
        EXPECT_EQ(SSL_CTX_use_PrivateKey(context.get(), key.get()), 1);
        TlsStream stream(std::move(end), *context, TlsRole::kAccepts);
        EXPECT_THROW(stream.handshake(after(5s), kEnrolProtocol), Error);
    });
    try {
        static_cast<void>(join(std::move(ours), token(), machine("web1")));
        ADD_FAILURE() << "it joined an impostor";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kAuthenticity) << e.what();
    }
    EXPECT_FALSE(std::filesystem::exists(folder("web1")));
}

// Whatever the moment of the cut: either both know of the enrolment, or the certificate is of no use.
TEST_F(EnrolmentTest, ACutLeavesNobodyEnrolledThatTheAuthorityDoesNotKnow) {
    std::uint64_t sent = 0, answered = 0;
    {
        Invitation invitation = invite();
        auto ends = memory_transports();
        Bytes of_first, of_second;
        ends.first = std::make_unique<Tapped>(std::move(ends.first), of_first);
        ends.second = std::make_unique<Tapped>(std::move(ends.second), of_second);
        ASSERT_EQ(try_to_join(invitation, token(), machine("whole"), std::move(ends)), "");
        sent = of_first.size();
        answered = of_second.size();
    }
    int number = 0;
    for (const bool of_first : {true, false})
        for (std::uint64_t cut = 0; cut < (of_first ? sent : answered); cut += 41) {
            const std::string name = fmt::format("m{}", ++number);
            Invitation invitation = invite();
            try_to_join(
                invitation, token(), machine(name),
                of_first ? memory_transports({.first_cut = cut}) : memory_transports({.second_cut = cut}));
            const bool is_known = ::testing::Value(valid_names(), ::testing::Contains(name));
            EXPECT_EQ(is_known, joined_.has_value()) << "cut at " << cut;
            EXPECT_TRUE(!joined_ || std::filesystem::exists(folder(name) + "/enrolment.pem"))
                << "cut at " << cut;
        }
}

TEST_F(EnrolmentTest, ANameIsTakenOverOnlyByAnInvitationThatSaysSo) {
    Invitation first = invite();
    ASSERT_EQ(try_to_join(first, token(), machine("web1")), "");
    const std::string old_serial = joined_->serial;
    Invitation unnamed = invite();
    JoinOptions impostor = machine("web1");
    impostor.folder = folder("impostor");
    EXPECT_THAT(try_to_join(unnamed, token(), impostor), HasSubstr("in use"));
    EXPECT_FALSE(unnamed.is_over()) << "another name would do";

    Invitation named = invite({.name = "web1"});
    JoinOptions again = machine("web1");
    EXPECT_THAT(try_to_join(named, token(), again), HasSubstr("--replace"));
    again.replace = true;
    ASSERT_EQ(try_to_join(named, token(), again), "");
    EXPECT_THAT(valid_names(), ElementsAre("golden", "web1"));
    EXPECT_NE(Credentials(folder("web1")).identity().serial, old_serial);
}

TEST_F(EnrolmentTest, NobodyBecomesTheMachineThatHoldsTheAuthority) {
    Invitation invitation = invite({.name = "golden"});
    EXPECT_THAT(try_to_join(invitation, token(), machine("golden2")),
                HasSubstr("the invitation is for golden"));
    JoinOptions options = machine("x");
    options.name.clear();
    EXPECT_THAT(try_to_join(invitation, token(), options), HasSubstr("in use"));
    EXPECT_THROW(authority_->revoke("golden"), Error);
    EXPECT_THROW(check_can_join({.folder = folder("golden"), .replace = true}), Error);
}

TEST_F(EnrolmentTest, RevokedIsRevokedAlsoForWhoOpensTheFolderAnew) {
    Invitation invitation = invite();
    ASSERT_EQ(try_to_join(invitation, token(), machine("web1")), "");
    EXPECT_THAT(authority_->revoke("web1"), SizeIs(1));
    EXPECT_THROW(authority_->revoke("web1"), Error) << "it is revoked already";
    EXPECT_THROW(authority_->revoke("nobody"), Error);
    authority_.emplace(folder("golden"), random_, clock_);
    EXPECT_THAT(valid_names(), ElementsAre("golden"));
}

TEST_F(EnrolmentTest, AFullDiskOrACutAtTheFirstInvitationLeavesNoHalfAuthority) {
    // What make() leaves when it is cut before its last write.
    const std::string half = folder("half");
    Authority::make(half, "half", random_, clock_);
    std::filesystem::remove(half + "/enrolment.pem");
    EXPECT_FALSE(Authority::is_in(half));
    EXPECT_THROW(Authority(half, random_), Error);
    Authority::make(half, "half", random_, clock_);
    EXPECT_THAT(Authority(half, random_).issued(), SizeIs(1));
}

}  // namespace
}  // namespace dupengine::wire
