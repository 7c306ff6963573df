// `dupengine enrol` as people use it: two machines (two folders) and a connection over 127.0.0.1.

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "tests/support/becomes.h"
#include "tests/support/scratch.h"
#include "wire/channel.h"
#include "wire/tcp.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::run_dupengine;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// The two documents that `invite --json` prints.
std::vector<json> documents(const std::string& text) {
    std::vector<json> found;
    std::size_t begin = 0;
    for (std::size_t at = text.find("\n}\n"); at != std::string::npos; at = text.find("\n}\n", begin)) {
        found.push_back(json::parse(text.substr(begin, at + 3 - begin)));
        begin = at + 3;
    }
    return found;
}

// An invitation in another process, which ends with the test at the latest.
class Inviting {
  public:
    Inviting(const test::ScratchFolder& scratch, std::vector<std::string> more)
        : out_(scratch.file("invite.out")) {
        std::vector<std::string> argv = {
            "sh",     "-c",       "exec \"$@\" > \"$0\"", out_, test::command(), "enrol", "invite",
            "--json", "--listen", "127.0.0.1:0"};
        argv.insert(argv.end(), more.begin(), more.end());
        std::filesystem::remove(out_);
        RunOptions options;
        options.stop = stop_.get_token();
        result_ = std::async(std::launch::async, [argv, options] { return run_program(argv, options); });
        const bool has_begun = test::becomes([this] { return !documents(text()).empty(); });
        const auto first = documents(text());
        if (!has_begun) throw_error(Code::kInternal, "enrol invite printed no token");
        token = first[0].at("token");
        place = first[0].at("listen");
    }
    ~Inviting() {
        stop_.request_stop();
        if (result_.valid()) result_.wait();
    }

    RunResult end() { return result_.get(); }
    json report() const { return documents(text()).at(1); }

    std::string token, place;

  private:
    std::string text() const { return std::filesystem::exists(out_) ? read_file(out_, Code::kInternal) : ""; }
    const std::string out_;
    std::stop_source stop_;
    std::future<RunResult> result_;
};

class Enrol : public ::testing::Test {
  protected:
    RunResult run(std::vector<std::string> words, const std::string& machine, const std::string& input = "") {
        words.insert(words.begin(), "enrol");
        words.insert(words.end(), {"--peers", scratch_.file(machine)});
        RunOptions options;
        options.input = input;
        return run_dupengine(words, options);
    }
    std::vector<std::string> as(const std::string& machine, std::vector<std::string> more = {}) {
        more.insert(more.end(), {"--peers", scratch_.file(machine)});
        return more;
    }
    void enrol(const std::string& name) {
        Inviting inviting(scratch_, as("golden"));
        const RunResult joined = run({"join", inviting.place, "--name", name}, name, inviting.token + "\n");
        ASSERT_EQ(joined.status, 0) << joined.err;
        const RunResult invited = inviting.end();
        ASSERT_EQ(invited.status, 0) << invited.err;
        EXPECT_EQ(inviting.report().at("name"), name);
    }

    test::ScratchFolder scratch_;
};

TEST_F(Enrol, AMachineThatIsNotEnrolledCanDoNothingButJoin) {
    const RunResult listed = run({"list"}, "web1");
    EXPECT_EQ(listed.status, 7);
    EXPECT_THAT(listed.err, HasSubstr("enrol join"));
    EXPECT_EQ(run({"revoke", "golden"}, "web1").status, 3);
    EXPECT_EQ(run({"join", "127.0.0.1:1", "0000"}, "web1").status, 2);
    EXPECT_FALSE(std::filesystem::exists(scratch_.file("web1")));
}

TEST_F(Enrol, InviteJoinListRevoke) {
    {
        Inviting inviting(scratch_, as("golden", {"--own-name", "golden"}));
        // Without the token, and with one of which a character is wrong, nothing happens.
        std::string wrong = inviting.token;
        wrong[0] = wrong[0] == '2' ? '3' : '2';
        EXPECT_EQ(run({"join", inviting.place, wrong}, "web1").status, 2);
        const RunResult joined =
            run({"join", inviting.place, inviting.token, "--name", "web1", "--json"}, "web1");
        ASSERT_EQ(joined.status, 0) << joined.err;
        EXPECT_EQ(json::parse(joined.out).at("name"), "web1");
        EXPECT_EQ(inviting.end().status, 0);
        EXPECT_EQ(inviting.report().at("serial"), json::parse(joined.out).at("serial"));
        EXPECT_EQ(run({"join", inviting.place, inviting.token}, "web2").status, 8) << "nobody invites now";
    }
    ASSERT_NO_FATAL_FAILURE(enrol("web2"));
    const json listed = json::parse(run({"list", "--json"}, "golden").out);
    EXPECT_THAT(listed.at("issued"), SizeIs(3));
    EXPECT_EQ(listed.at("issued")[1].at("state"), "valid");
    const RunResult revoked = run({"revoke", "web1"}, "golden");
    EXPECT_EQ(revoked.status, 0) << revoked.err;
    EXPECT_EQ(json::parse(run({"list", "--json"}, "golden").out).at("issued")[1].at("state"), "revoked");
    EXPECT_THAT(run({"list"}, "golden").out, HasSubstr("web2"));
    EXPECT_EQ(run({"revoke", "web1"}, "golden").status, 3);
    // The other program that reads such lists.
    const std::string text =
        test::must_run({"openssl", "crl", "-noout", "-text", "-CAfile", scratch_.file("golden/enrolment.pem"),
                        "-in", scratch_.file("golden/revoked.pem")});
    EXPECT_THAT(text, HasSubstr("Serial Number"));
}

TEST_F(Enrol, TheWrongTokenIsToldOnBothSidesAndEndsNothing) {
    Inviting inviting(scratch_, as("golden", {"--own-name", "golden", "--minutes", "1"}));
    const std::string other = "W3N3-9QSH-R9MP-163G-KGQX-9QE6-2BWF-RN5W-RZEJ-2HRD-BZK9-3NVH-TDTX-J1YM";
    for (int i = 0; i < 6; ++i) {
        const RunResult joined = run({"join", inviting.place, other}, "web1");
        EXPECT_EQ(joined.status, 7);
        EXPECT_THAT(joined.err, HasSubstr("token is not taken"));
    }
    const RunResult joined = run({"join", inviting.place, inviting.token, "--name", "web1"}, "web1");
    EXPECT_EQ(joined.status, 0) << joined.err;
    const RunResult invited = inviting.end();
    EXPECT_EQ(invited.status, 0);
    EXPECT_THAT(invited.err, HasSubstr("a connection without the token"));
}

// What enrolment is for: a channel between the two over TCP, here with much data in both directions.
TEST_F(Enrol, EnrolledMachinesHaveAChannelOverTcp) {
    {
        Inviting inviting(scratch_, as("golden", {"--own-name", "golden"}));
        ASSERT_EQ(run({"join", inviting.place, inviting.token, "--name", "web1"}, "web1").status, 0);
        ASSERT_EQ(inviting.end().status, 0);
    }
    wire::Listener listener({"127.0.0.1", 0});
    auto accepted = std::async(std::launch::async, [&] {
        const wire::Credentials own(scratch_.file("web1"));
        const auto channel = wire::accept_channel(listener.accept(wire::after(10s)), own);
        Bytes buffer(kMiB);
        std::uint64_t total = 0;
        for (std::size_t got; (got = channel->receive(buffer, wire::after(10s))) != 0; total += got) {
        }
        channel->finish(wire::after(10s));
        return std::pair(channel->peer().name, total);
    });
    const wire::Credentials own(scratch_.file("golden"));
    const auto channel = wire::connect_channel(wire::connect_tcp(listener.address(), wire::after(10s)), own);
    EXPECT_EQ(channel->peer().name, "web1");
    const Bytes data(8 * kMiB, std::byte{7});
    channel->send(data, wire::after(20s));
    channel->finish(wire::after(20s));
    EXPECT_EQ(accepted.get(), std::pair(std::string("golden"), static_cast<std::uint64_t>(data.size())));
}

TEST_F(Enrol, WhoWaitsForAConnectionCanBeStopped) {
    wire::Listener listener({"127.0.0.1", 0});
    std::stop_source stop;
    std::jthread other([&] {
        std::this_thread::sleep_for(50ms);
        stop.request_stop();
    });
    EXPECT_EQ(listener.accept(wire::after(30s), stop.get_token()), nullptr);
    EXPECT_EQ(listener.accept(wire::after(10ms)), nullptr);
    EXPECT_THROW(wire::Listener{listener.address()}, Error) << "somebody else listens there";
    EXPECT_THROW(wire::Listener({"192.0.2.1", 0}), Error) << "not our address";
}

}  // namespace
}  // namespace dupengine
