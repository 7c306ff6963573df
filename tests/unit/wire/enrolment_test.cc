// Enrolment over connections in memory: a token lets exactly one machine in, once.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>
#include <thread>

#include "tests/support/enrolment_rig.h"
#include "wire/certificates.h"
#include "wire/channel.h"
#include "wire/enrol_messages.h"
#include "wire/enrolment_tls.h"
#include "wire/peer_files.h"

namespace dupengine::wire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

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

TEST_F(EnrolmentTest, AnotherSystemWithTheFilesOfAMachineIsThatMachineAndNoAuthority) {
    Invitation invitation = invite();
    ASSERT_EQ(try_to_join(invitation, token(), machine("web1")), "");
    for (const std::string who : {"web1", "golden"}) {
        const std::string copy = folder("copy of " + who);
        make_private_folder(copy);
        for (const CredentialFile& file : credential_files(folder(who)))
            write_file_atomic(copy + "/" + file.name, as_bytes(file.content), 0600, Code::kInternal);
        EXPECT_EQ(Credentials(copy).identity(), Credentials(folder(who)).identity());
        EXPECT_FALSE(std::filesystem::exists(copy + "/authority"));
    }
    EXPECT_THROW(credential_files(folder("nobody")), Error);
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
            std::async(std::launch::async, [options = machine("w" + std::to_string(i)), with = token(),
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

}  // namespace
}  // namespace dupengine::wire
