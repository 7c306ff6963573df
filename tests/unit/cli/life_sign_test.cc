#include "cli/life_sign.h"

#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;

const wire::Address kHere{"127.0.0.1", 7433};

TEST(LifeSign, OfTheDuplicateIsHeardWordForWord) {
    SeededRandom random(1);
    LifeSignListener listener(kHere, random);
    EXPECT_EQ(listener.place().address.host, "127.0.0.1");
    auto said = std::async(std::launch::async,
                           [&] { return send_life_sign(listener.place(), "{\"node\":\"web-1\"}", 5s); });
    EXPECT_EQ(listener.wait(5s, {}), "{\"node\":\"web-1\"}");
    EXPECT_TRUE(said.get());
}

TEST(LifeSign, OfSomebodyWhoDoesNotKnowTheSecretIsNone) {
    SeededRandom random(2);
    LifeSignListener listener(kHere, random);
    LifeSignPlace stranger = listener.place();
    stranger.secret[31] ^= std::byte{1};
    auto said = std::async(std::launch::async, [&] {
        send_life_sign(stranger, "{\"node\":\"evil\"}", 5s);
        return send_life_sign(listener.place(), "{\"node\":\"web-1\"}", 5s);
    });
    EXPECT_EQ(listener.wait(10s, {}), "{\"node\":\"web-1\"}");
    EXPECT_TRUE(said.get());
}

TEST(LifeSign, ThatDoesNotComeIsNotWaitedForForEver) {
    SeededRandom random(3);
    LifeSignListener listener(kHere, random);
    EXPECT_EQ(listener.wait(50ms, {}), std::nullopt);
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(listener.wait(1h, stop.get_token()), std::nullopt);
}

TEST(LifeSign, OfARoleWithVeryManyChangesIsShortenedAndComesThrough) {
    using Json = nlohmann::ordered_json;
    Json report = {{"node", "web-1"}, {"notes", Json::array({"one", "two"})}, {"changes", Json::array()}};
    EXPECT_EQ(life_sign_text(report), R"({"node":"web-1","notes":["one","two"],"changes":[]})");
    for (int i = 0; i < 10'000; ++i)
        report["changes"].push_back({{"item", "file"}, {"where", "/etc/" + std::to_string(i)}});
    const std::string text = life_sign_text(report);
    const Json shortened = Json::parse(text);
    EXPECT_EQ(shortened["node"], "web-1");
    EXPECT_EQ(shortened["notes"].size(), 2u);
    EXPECT_EQ(shortened["shortened"], true);
    EXPECT_GT(shortened["changes"].size(), 500u);
    EXPECT_EQ(shortened["changes"][0]["where"], "/etc/0");

    SeededRandom random(5);
    LifeSignListener listener(kHere, random);
    const std::string longest(kMostLifeSignText, 'x');
    EXPECT_FALSE(send_life_sign(listener.place(), longest + "x", 5s)) << "nobody would take it";
    for (const std::string& said_text : {text, longest}) {
        auto said =
            std::async(std::launch::async, [&] { return send_life_sign(listener.place(), said_text, 5s); });
        EXPECT_EQ(listener.wait(5s, {}), said_text);
        EXPECT_TRUE(said.get());
    }
    EXPECT_LE(life_sign_text({{"node", std::string(100'000, 'n')}}).size(), kMostLifeSignText);
}

TEST(LifeSign, ToNobodyIsGivenUp) {
    LifeSignPlace nobody;
    {
        SeededRandom random(4);
        nobody = LifeSignListener(kHere, random).place();
    }
    EXPECT_FALSE(send_life_sign(nobody, "{}", 700ms));
}

}  // namespace
}  // namespace dupengine::cli
