// A copy over several connections at a time.

#include <nlohmann/json.hpp>

#include "tests/system/peers.h"

namespace dupengine {
namespace {

using nlohmann::json;

std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t count = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
        ++count;
    return count;
}

TEST_F(Peers, ACopyComesOverAsManyConnectionsAsItWasTold) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source);
    const std::string pushed = disk_file("pushed.img", *old), pulled = disk_file("pulled.img", *old);
    {
        const auto receiving = receive(pushed);
        const RunResult sent =
            test::run_dupengine({"copy", "--json", "--peers", source_folder_, "--streams", "3", from, url_});
        EXPECT_EQ(sent.status, 0) << sent.err;
        EXPECT_EQ(receiving->end().status, 0);
        EXPECT_EQ(json::parse(sent.out).at("result"), "verified");
    }
    expect_copy(pushed, *source, *old);
    Running serving({"serve", "--peers", source_folder_, "--listen", address_, "web=" + from});
    serving.wait_until_listening(port_);
    const RunResult ended = test::run_dupengine(
        {"copy", "--yes", "--peers", target_folder_, "--streams=4", url_ + "/web", pulled});
    EXPECT_EQ(ended.status, 0) << ended.err;
    expect_copy(pulled, *source, *old);
    serving.signal(SIGTERM);
    // It is one copy to who reads the log, however many connections it had.
    const std::string log = serving.end().err;
    EXPECT_EQ(count_of(log, "reads web"), 1u) << log;
    EXPECT_EQ(count_of(log, "is a copy"), 1u) << log;
    EXPECT_EQ(count_of(log, "gone"), 0u) << log;
}

// Five at a time, each over more connections than the source's end has places for all of them.
TEST_F(Peers, NoCopyTakesThePlaceOfAnother) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source);
    Running serving({"serve", "--peers", source_folder_, "--listen", address_, "web=" + from});
    serving.wait_until_listening(port_);
    std::vector<std::unique_ptr<Running>> pulls;
    for (int i = 0; i < 5; ++i)
        pulls.push_back(std::make_unique<Running>(
            std::vector<std::string>{"copy", "--yes", "--peers", target_folder_, "--streams=8", url_ + "/web",
                                     disk_file(fmt::format("to{}.img", i), *old)}));
    for (int i = 0; i < 5; ++i) {
        const RunResult ended = pulls[static_cast<std::size_t>(i)]->end();
        EXPECT_EQ(ended.status, 0) << ended.err;
        expect_copy(folder_.file(fmt::format("to{}.img", i)), *source, *old);
    }
    serving.kill();
    serving.end();
}

TEST_F(Peers, StreamsAreForACopyOverTheNetwork) {
    const std::string from = disk_file("source.img", *a_source()), to = disk_file("target.img", *a_target());
    for (const std::string streams : {"2", "0", "9"})
        EXPECT_EQ(test::run_dupengine({"copy", "--yes", "--streams", streams, from, to}).status, 2);
    EXPECT_EQ(content_of(to), a_target()->content);
}

}  // namespace
}  // namespace dupengine
