// Two processes with TLS between them of which one goes away: the next run finishes the copy.

#include <signal.h>

#include <nlohmann/json.hpp>

#include "tests/system/peers.h"

namespace dupengine {
namespace {

using nlohmann::json;

// The sender finds another `receive` there than the one that has written half of the target.
TEST_F(Peers, ARestartedTargetsEndIsNoRefusalToTheSender) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *old);
    auto receiving = receive(to, {"--rate", "24M"});
    Running sending({"copy", "--peers", source_folder_, from, url_});
    wait_until_it_has_begun(to, *source);
    receiving->kill();
    receiving->end();
    receiving = receive(to);
    const RunResult sent = sending.end();
    EXPECT_EQ(sent.status, 8) << sent.err;
    EXPECT_NE(sent.err.find("run both ends again"), std::string::npos) << sent.err;
    EXPECT_EQ(send(from).status, 0) << "that end waits for another copy";
    EXPECT_EQ(receiving->end().status, 0);
    expect_copy(to, *source, *old);
}

// Which end is killed, in the middle.
class PeersKilled : public Peers, public testing::WithParamInterface<bool> {};

TEST_P(PeersKilled, TheCopyIsFinishedByTheNextRun) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *old);
    {
        const auto receiving = receive(to, {"--rate", "24M"});
        Running sending({"copy", "--peers", source_folder_, from, url_});
        wait_until_it_has_begun(to, *source);
        Running& killed = GetParam() ? *receiving : sending;
        Running& left = GetParam() ? sending : *receiving;
        killed.kill();
        killed.end();
        left.kill();  // it would wait for a minute
        left.end();
    }
    EXPECT_EQ(part(content_of(to), kProfile), part(old->content, kProfile));
    const auto again = receive(to);
    const RunResult sent = send(from);
    const RunResult received = again->end();
    ASSERT_EQ(sent.status, 0) << sent.err;
    ASSERT_EQ(received.status, 0) << received.err;
    EXPECT_GT(json::parse(received.out)["bytes_equal"].get<std::uint64_t>(), 4 * kMiB)
        << "what had come was not used";
    expect_copy(to, *source, *old);
}

INSTANTIATE_TEST_SUITE_P(Either, PeersKilled, testing::Bool(),
                         [](const auto& end) { return end.param ? "TheTargetsEnd" : "TheSourcesEnd"; });

}  // namespace
}  // namespace dupengine
