#include "cli/life_view.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace dupengine::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::ordered_json;

std::string drawn(const std::string& text) {
    return draw_life(Json::parse(text, nullptr, false), Charset::kUtf8);
}

TEST(LifeView, SaysWhoTheTargetIsAndWhatItChanged) {
    const std::string text = drawn(
        R"({"node":"web-1","roles":["base","web"],"generation":2,"seconds":21.7,"connections_destroyed":2,)"
        R"("leases_dropped":["/var/lib/dhcp/a"],"changes":[{"item":"hostname","where":"/etc/hostname",)"
        R"("before":"golden","after":"web-1"},{"item":"random_seed","where":"/var/lib/seed"}],"notes":["a word"]})");
    EXPECT_THAT(text, HasSubstr("the target lives: it is web-1 (base, web), generation 2"));
    EXPECT_THAT(text, HasSubstr("hostname       /etc/hostname: golden -> web-1\n"));
    EXPECT_THAT(text, HasSubstr("random_seed    /var/lib/seed\n"));
    EXPECT_THAT(text, HasSubstr("2 connections, 0 datagram sockets, 1 leases"));
    EXPECT_THAT(text, HasSubstr("note: on the target: a word\n"));
}

TEST(LifeView, OfAnotherMachineNothingReachesTheTerminalThatIsNoText) {
    const std::string text = drawn(
        R"({"node":"\u001b[2J","roles":[7,{}],"generation":-1,"changes":[1,{"item":["x"],"where":"\u0007"}],)"
        R"("notes":["\u001b]0;x",null],"leases_dropped":3,"shortened":true})");
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    EXPECT_THAT(text, Not(HasSubstr("\x07")));
    EXPECT_THAT(text, HasSubstr("woken.json"));
}

TEST(LifeView, OfWhatIsNoReportOnlyThatItLivesIsSaid) {
    EXPECT_EQ(drawn("[1, 2"), "the target lives\n");
    EXPECT_EQ(drawn("\"yes\""), "the target lives\n");
}

}  // namespace
}  // namespace dupengine::cli
