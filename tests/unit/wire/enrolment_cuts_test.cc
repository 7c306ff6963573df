// Enrolment that is cut, or that somebody disturbs: nobody is enrolled whom the authority does not know, and
// what was there before stays.

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
