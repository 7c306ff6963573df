// The one-time token as a person sees and types it.

#include "wire/token.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "wire/enrol_messages.h"

namespace dupengine::wire {
namespace {

Secret token_of(std::uint64_t seed) {
    SeededRandom random(seed);
    return draw_token(random);
}

bool equal(const Secret& a, const Secret& b) {
    return std::ranges::equal(a.all(), b.all());
}

std::string complaint_about(const std::string& text) {
    try {
        static_cast<void>(parse_token(text));
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUsage);
        return e.what();
    }
    return "";
}

TEST(Token, IsReadAsItWasShownAndAsPeopleTypeIt) {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        const Secret token = token_of(seed);
        const std::string text = token_text(token);
        EXPECT_EQ(text.size(), 69u);
        EXPECT_TRUE(equal(parse_token(text), token)) << "seed " << seed;
        std::string typed = "  ";
        for (const char c : text) {
            if (c == '-') continue;
            const char lower = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
            typed += lower == '1' ? 'l' : lower == '0' ? 'o' : lower;
        }
        EXPECT_TRUE(equal(parse_token(typed + " \n"), token)) << "seed " << seed;
    }
}

TEST(Token, OneWrongCharacterAnywhereIsSeenAndNeverRepeated) {
    const std::string text = token_text(token_of(7));
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '-') continue;
        for (const char c : {'0', '7', 'X', 'Z', 'U', '!', '\xff'}) {
            if (c == text[i]) continue;
            std::string wrong = text;
            wrong[i] = c;
            const std::string complaint = complaint_about(wrong);
            EXPECT_NE(complaint, "") << wrong;
            EXPECT_EQ(complaint.find(text.substr(0, 9)), std::string::npos) << "a secret is in a message";
        }
    }
}

TEST(Token, TwoNeighboursThatWereExchangedAreSeen) {
    const std::string text = token_text(token_of(8));
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
        if (text[i] == text[i + 1] || text[i] == '-' || text[i + 1] == '-') continue;
        std::string wrong = text;
        std::swap(wrong[i], wrong[i + 1]);
        EXPECT_NE(complaint_about(wrong), "") << wrong;
    }
}

TEST(Token, ATruncatedOrLongerOneIsNone) {
    const std::string text = token_text(token_of(9));
    for (std::size_t size = 0; size < text.size(); ++size)
        EXPECT_NE(complaint_about(text.substr(0, size)), "") << size;
    EXPECT_NE(complaint_about(text + "0"), "");
    EXPECT_NE(complaint_about(std::string(1'000'000, '0')), "");
}

TEST(Token, WhatCrossesTheNetworkSaysNothingOfIt) {
    const Secret token = token_of(1), other = token_of(2);
    const PresharedKey key(token), again(parse_token(token_text(token))), another(other);
    EXPECT_EQ(key.identity, again.identity);
    EXPECT_TRUE(equal(key.key, again.key));
    EXPECT_NE(key.identity, another.identity);
    EXPECT_FALSE(equal(key.key, token));
    EXPECT_FALSE(std::ranges::equal(key.identity, token.all().first(key.identity.size())));
}

TEST(EnrolMessages, WhatIsNoMessageIsRefused) {
    for (const char* text : {"", "null", "[]", "{}", "{\"name\":1,\"host\":\"\",\"request\":\"\"}",
                             "{\"name\":\"a\"", "\xff\xfe"}) {
        EXPECT_THROW(parse_join_message(text), Error) << text;
        EXPECT_THROW(parse_welcome_message(text), Error) << text;
    }
    EXPECT_THROW(parse_join_message(std::string(kJoinMessageLimit, '[')), Error);
    EXPECT_THROW(parse_join_message("{\"name\":\"" + std::string(kJoinMessageLimit, 'a') + "\"}"), Error);
}

TEST(EnrolMessages, AnErrorOfTheOtherSideCannotCommandOurTerminal) {
    const WelcomeMessage message = parse_welcome_message(text_of(WelcomeMessage{{}, "no\033[2J\nway"}));
    EXPECT_EQ(message.error, "no?[2J?way");
}

}  // namespace
}  // namespace dupengine::wire
