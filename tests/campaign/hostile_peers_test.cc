// Every message of a copy changed on its way, in every manner that a hostile peer could think of, and whole
// conversations replayed. Each ends soon, with one line, and with nothing on the target that the source did
// not say; or it makes no difference.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "tests/support/campaign.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/hostile_scenarios.h"
#include "tests/support/hostile_stage.h"
#include "tests/support/remote_copy.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using block::Extent;
using test::DiskBytes;
using test::Liar;
using test::MemoryDevice;
using test::Scenario;

constexpr std::uint64_t kSize = kMiB;
const Extent kData{320 * kKiB, 576 * kKiB};
const Extent kProfile{640 * kKiB, 704 * kKiB};

// Fast, but nobody is taken for silent on a busy machine who is not.
constexpr Patience kPatience{.silence = 2s,
                             .message = 2s,
                             .beat = 500ms,
                             .farewell = 50ms,
                             .outage = 50ms,
                             .answer = 1s,
                             .prepare = 5s,
                             .pause = 5ms};

// Two disks; half of the data is on the target already, so that digests are on the wire, too.
struct Scene {
    Scene() {
        source = test::make_gpt_disk(kSize, {{1, kData, "root"}}, 1);
        target = test::make_gpt_disk(
            kSize,
            {{1, {320 * kKiB, 384 * kKiB}, "old"}, {128, kProfile, "profile", layout::type_guid::kProfile}},
            2, true);
        std::copy_n(source->content.begin() + static_cast<std::ptrdiff_t>(kData.begin), kData.size() / 2,
                    target->content.begin() + static_cast<std::ptrdiff_t>(kData.begin));
        before = target->content;
    }
    std::shared_ptr<DiskBytes> source, target;
    Bytes before;
};

struct Outcome {
    std::string target_end;  // empty: complete
    std::vector<std::string> source_end;
    std::chrono::steady_clock::duration took{};
};

using test::Tampered;

Outcome copy_with(Scene& scene, const Tampered::Change& sent, const Tampered::Change& received) {
    const auto start = std::chrono::steady_clock::now();
    const MemoryDevice device(scene.source, 512, "source");
    test::WireRig rig({"disk", device, {}, [] { return "as it was"; }});
    rig.patience = kPatience;
    Outcome outcome;
    try {
        Peer peer = rig.connect();
        peer.transport = std::make_unique<Tampered>(std::move(peer.transport), sent, received);
        LinkOptions options;
        options.patience = kPatience;
        Link link(std::move(peer), rig.random(), options);
        test::RemoteCopyOptions copy;
        copy.copy.delta = engine::Delta::kAlways;
        copy.copy.tuning = {.workers = 1, .depth = 2, .chunk_bytes = 64 * kKiB};
        test::copy_over(link, scene.target, copy);
    } catch (const Error& e) {
        outcome.target_end = *e.what() != '\0' ? e.what() : "no text";
    }
    rig.wait_for_answers();
    outcome.source_end = rig.outcomes();
    outcome.took = std::chrono::steady_clock::now() - start;
    return outcome;
}

Bytes as_it_is(std::size_t, const Message& message) {
    return encode(message);
}

// Empty, or what the lie has done.
std::string harm_of(const Scenario& scenario, Scene& scene, const Outcome& outcome) {
    if (outcome.took > 15s) return "it took too long";
    for (const std::string& line : outcome.source_end)
        if (line.find('\n') != std::string::npos) return "more than a line: " + line;
    if (outcome.target_end.find('\n') != std::string::npos) return "more than a line: " + outcome.target_end;
    if (test::part_of(scene.target->content, kProfile) != test::part_of(scene.before, kProfile))
        return "the profile is lost";
    if (!outcome.target_end.empty() && !test::is_old_or_marked(scene.target, scene.before))
        return "it ended and looks like a disk: " + outcome.target_end;
    if (scenario.may_be_believed) return "";
    if (outcome.target_end.empty())
        return test::part_of(scene.target->content, kData) == test::part_of(scene.source->content, kData)
                   ? ""
                   : "complete, and not the source";
    for (ByteOffset at = kData.begin; at < kData.end; at += 512) {
        const auto is = [&](const Bytes& disk) {
            return std::equal(disk.begin() + static_cast<std::ptrdiff_t>(at),
                              disk.begin() + static_cast<std::ptrdiff_t>(at + 512),
                              scene.target->content.begin() + static_cast<std::ptrdiff_t>(at));
        };
        if (!is(scene.source->content) && !is(scene.before))
            return fmt::format("at {} is what the source did not say: {}", at, outcome.target_end);
    }
    return "";
}

struct Heard {
    std::vector<Message> from_source, from_target;
};

// A copy as it should be, listened to.
Heard listen() {
    Scene scene;
    Heard heard;
    std::mutex mutex;
    const auto into = [&](std::vector<Message>& list) {
        return [&list, &mutex](std::size_t, const Message& message) {
            const std::lock_guard lock(mutex);
            list.push_back(message);
            return encode(message);
        };
    };
    const Outcome outcome = copy_with(scene, into(heard.from_target), into(heard.from_source));
    EXPECT_EQ(outcome.target_end, "");
    return heard;
}

std::string run(const Scenario& scenario) {
    Scene scene;
    const Tampered::Change lie = [&](std::size_t number, const Message& message) {
        return number == scenario.number ? scenario.change(message) : encode(message);
    };
    const bool is_source = scenario.liar == Liar::kSource;
    const Outcome outcome = copy_with(scene, is_source ? as_it_is : lie, is_source ? lie : as_it_is);
    return harm_of(scenario, scene, outcome);
}

// In CI each 11th, another part of them for each seed; tools/campaign runs all. More than the 300 that are
// promised either way.
TEST(HostilePeers, WhateverAMessageIsChangedToItEndsOrMakesNoDifference) {
    const Heard heard = listen();
    const std::vector<Scenario> table = test::hostile_scenarios(heard.from_source, heard.from_target);
    const std::size_t step = test::is_long_campaign() ? 1 : 11;
    std::size_t done = 0;
    for (std::size_t i = test::campaign_seeds(1).first % step; i < table.size(); i += step, ++done)
        ASSERT_EQ(run(table[i]), "") << "scenario " << i << ": " << table[i].name;
    std::printf("%zu scenarios of %zu\n", done, table.size());
    EXPECT_GE(done, 300u);
}

// What was said once, said again by somebody who has it from the wire.
TEST(HostilePeers, AReplayedConversationMakesNoOtherDisk) {
    const Heard heard = listen();
    std::vector<Bytes> said;
    for (const Message& message : heard.from_source)
        said.push_back(encode(message));
    std::vector<std::pair<std::string, std::vector<Bytes>>> scripts = {
        {"whole", said}, {"without its first", {said.begin() + 1, said.end()}}};
    std::vector<Bytes> all_at_once = {{}};
    for (const Bytes& message : said)
        all_at_once[0] = test::together(all_at_once[0], message);
    scripts.emplace_back("all at once", all_at_once);
    for (std::size_t i = 1; i < said.size(); ++i) {
        auto swapped = said;
        std::swap(swapped[i - 1], swapped[i]);
        scripts.emplace_back(fmt::format("{} before {}", i, i - 1), swapped);
    }
    for (const auto& [name, script] : scripts) {
        Scene scene;
        // Word for word, whatever the honest source's end says.
        const Tampered::Change replay = [&lines = script](std::size_t number, const Message&) {
            return number < lines.size() ? lines[number] : encode(Message{});
        };
        const Outcome outcome = copy_with(scene, as_it_is, replay);
        const Scenario scenario{name, Liar::kSource, 0, {}, false};
        ASSERT_EQ(harm_of(scenario, scene, outcome), "") << name;
    }
}

// A conversation about another disk, from the middle of this one on.
TEST(HostilePeers, TheConversationOfAnotherTransferDoesNotContinueThisOne) {
    const Heard other = listen();
    for (std::size_t from = 0; from < other.from_source.size(); ++from) {
        Scene scene;
        test::fill_pattern(std::span(scene.source->content).subspan(kData.begin, kData.size()), 77);
        const Tampered::Change change = [&](std::size_t number, const Message& message) {
            const bool theirs = number >= from && number < other.from_source.size();
            return encode(theirs ? other.from_source[number] : message);
        };
        const Outcome outcome = copy_with(scene, as_it_is, change);
        // It is the other end's own disk that it lies about: what it says last is taken. What it may not do:
        const Scenario scenario{fmt::format("from message {} on", from), Liar::kSource, 0, {}, true};
        ASSERT_EQ(harm_of(scenario, scene, outcome), "") << scenario.name;
    }
}

TEST(HostilePeers, DataAndDigestsThatDisagreeAreNoticed) {
    const Heard heard = listen();
    const auto first = std::ranges::find(heard.from_source, Type::kData, &Message::type);
    ASSERT_NE(first, heard.from_source.end());
    // What the digest was of is not what is sent: the copy ends, marked.
    for (const bool lies_in_data : {true, false}) {
        Scene scene;
        const Tampered::Change lie = [&](std::size_t, const Message& message) {
            Message other = message;
            if (lies_in_data && message.type == Type::kData) other.payload.back() ^= std::byte{1};
            if (!lies_in_data && message.type == Type::kDigests)
                for (std::byte& byte : other.payload)
                    byte ^= std::byte{1};
            return encode(other);
        };
        const Outcome outcome = copy_with(scene, as_it_is, lie);
        EXPECT_FALSE(outcome.target_end.empty()) << lies_in_data;
        const Scenario scenario{"", Liar::kSource, 0, {}, true};
        EXPECT_EQ(harm_of(scenario, scene, outcome), "");
    }
}

TEST(HostilePeers, ATokenOfAnythingElseOpensNothing) {
    const Scene scene;
    const MemoryDevice one(scene.source, 512, "one"), two(scene.source, 512, "two");
    SeededRandom random(1), other_random(2);
    Offer offer(random), other(other_random);
    for (Offer* each : {&offer, &other}) {
        each->add({"disk", one});
        each->add({"second", two});
    }
    Token transfer{}, another{};
    transfer.fill(std::byte{1}), another.fill(std::byte{2});
    const codec::Sha256 peer{std::byte{1}}, stranger{std::byte{2}};
    const Token token = offer.admit({"disk", transfer, {}}, peer).opened.resume;
    EXPECT_EQ(offer.admit({"disk", transfer, token}, peer).opened.resume, token);
    const auto code_of = [](const Offer& at, const Open& open, const codec::Sha256& who) {
        try {
            at.admit(open, who);
            return Code{};
        } catch (const Error& e) {
            return e.code();
        }
    };
    EXPECT_EQ(code_of(offer, {"disk", transfer, token}, stranger), Code::kRefused)
        << "stolen by another peer";
    EXPECT_EQ(code_of(offer, {"second", transfer, token}, peer), Code::kRefused) << "for another disk";
    EXPECT_EQ(code_of(offer, {"disk", another, token}, peer), Code::kRefused) << "for another copy";
    EXPECT_EQ(code_of(other, {"disk", transfer, token}, peer), Code::kRefused)
        << "of an offer that has ended";
    for (std::size_t bit = 0; bit < 256; ++bit) {
        Token wrong = token;
        wrong[bit / 8] ^= std::byte(1u << bit % 8);
        EXPECT_EQ(code_of(offer, {"disk", transfer, wrong}, peer), Code::kRefused) << "bit " << bit;
    }
}

}  // namespace
}  // namespace dupengine::wire
