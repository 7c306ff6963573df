// What a peer that is not honest can do: nothing but end the connection, soon and with one line.

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/gpt_disk.h"
#include "tests/support/hostile_stage.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::MemoryDevice;

using test::Ending;
using test::ending_of;
using test::header_of;
using test::hello;
using test::lying_source;
using test::lying_target;
using test::opened;
using test::Stage;
using test::together;

const Bytes kPlanned = encode(Message{Type::kPrefill, 1, {}});

TEST(HostileSource, EndsTheCopySoonAndWithOneLine) {
    const Bytes greeting = encode(hello(Role::kAnswers)), disk = encode(opened());
    Bytes garbage(4096);
    SeededRandom(7).fill(garbage);
    const std::vector<std::pair<const char*, std::vector<Bytes>>> scripts = {
        {"says nothing", {}},
        {"says garbage", {garbage}},
        {"begins with something else", {disk}},
        {"asks as well", {encode(hello(Role::kAsks))}},
        {"is silent after the greeting", {greeting}},
        {"answers before it is asked", {greeting, encode(Message{Type::kData, 5, {}})}},
        {"opens a disk without a size", {greeting, encode(Message{Type::kOpened, 0, Bytes(50)})}},
        {"is silent after the disk", {greeting, disk}},
        {"an answer that nobody asked for", {greeting, disk, encode(Message{Type::kData, 77, {}})}},
        {"an answer to another question", {greeting, disk, encode(Message{Type::kData, 1, {}})}},
        {"the same answer twice", {greeting, disk, together(kPlanned, kPlanned)}},
        {"a message that is too long", {greeting, disk, header_of(Type::kPrefill, 0xffffffff)}},
        {"a message that never ends",
         {greeting, disk, together(header_of(Type::kPrefill, kMostPayload), garbage)}},
        {"a question", {greeting, disk, encode(Message{Type::kRead, 1, {}})}},
        {"pieces that are none",
         {greeting, disk, encode(Message{Type::kPrefill, 1, encode_prefill(0, garbage)})}},
        {"a sign of life with something in it", {greeting, disk, encode(Message{Type::kAlive, 0, garbage})}},
    };
    for (const auto& [name, script] : scripts) {
        const Ending ending = lying_source(script, [](RemoteReader& reader) {
            Bytes buffer(kMiB);
            reader.read(4 * kMiB, buffer);
        });
        EXPECT_EQ(ending.code, Code::kPeer) << name << ": " << ending.text;
    }
}

TEST(HostileSource, AnswersThatDoNotFitTheirQuestionsAreNotTaken) {
    const Bytes greeting = encode(hello(Role::kAnswers)), disk = encode(opened());
    const auto with = [&](Type type, Bytes payload) {
        return std::vector<Bytes>{greeting, disk, kPlanned, encode(Message{type, 2, std::move(payload)})};
    };
    const auto read = [](RemoteReader& reader) {
        Bytes buffer(kPieceBytes);
        reader.read(4 * kMiB, buffer);
    };
    const auto hold = [](RemoteReader& reader) {
        reader.expect({{0, kMiB}});
        reader.holds(0, Bytes(kPieceBytes));
    };
    const auto map = [](RemoteReader& reader) { reader.next_data({kMiB, 2 * kMiB}); };
    EXPECT_EQ(lying_source(with(Type::kData, Bytes(10)), read).code, Code::kPeer) << "too few bytes";
    EXPECT_EQ(lying_source(with(Type::kData, Bytes(kMostPayload)), read).code, Code::kPeer) << "too many";
    EXPECT_EQ(lying_source(with(Type::kDigests, Bytes(31)), hold).code, Code::kPeer);
    EXPECT_EQ(lying_source(with(Type::kDigests, Bytes(32 * 300)), hold).code, Code::kPeer);
    EXPECT_EQ(lying_source(with(Type::kMapped, encode(Mapped{kMiB, {}})), map).code, Code::kPeer)
        << "a map that does not go on would be asked for for ever";
    EXPECT_EQ(lying_source(with(Type::kMapped, encode(Mapped{99 * kMiB, {}})), map).code, Code::kPeer);
    EXPECT_EQ(lying_source(with(Type::kMapped, encode(Mapped{2 * kMiB, {{0, 512}}})), map).code, Code::kPeer);
    EXPECT_EQ(lying_source(with(Type::kFailed, encode(Failure{Code::kSourceIo, "bad"})), read).code,
              Code::kSourceIo)
        << "an honest failure stays one";
}

TEST(HostileTarget, EndsItsConnectionSoonAndWithOneLine) {
    const Bytes greeting = encode(hello(Role::kAsks));
    const Bytes open = encode(Message{Type::kOpen, 0, encode(Open{"disk", {}, {}})});
    const auto ask = [](Type type, Bytes payload) { return encode(Message{type, 1, std::move(payload)}); };
    const std::vector<block::Extent> behind = {{8 * kMiB, 9 * kMiB}};
    const std::vector<block::Extent> many = {{0, 8 * kMiB}}, wide = {{0, 1ull << 60}};
    // What is only lost is tried again over another connection; what is not honest is the end.
    const std::vector<std::pair<const char*, std::vector<Bytes>>> lost = {
        {"says nothing", {}},
        {"is silent", {greeting, open}},
        {"never ends", {greeting, open, header_of(Type::kRead, 1000)}},
    };
    const std::vector<std::pair<const char*, std::vector<Bytes>>> dishonest = {
        {"offers as well", {encode(hello(Role::kAnswers))}},
        {"asks before it opens", {greeting, ask(Type::kRead, {})}},
        {"answers", {greeting, open, ask(Type::kData, {})}},
        {"opens twice", {greeting, open, open}},
        {"asks for what lies behind the end",
         {greeting, open, ask(Type::kRead, encode(ReadRequest{{}, behind}))}},
        {"asks for nothing", {greeting, open, ask(Type::kRead, encode(ReadRequest{{}, {}}))}},
        {"asks for too much", {greeting, open, ask(Type::kRead, encode(ReadRequest{{}, many}))}},
        {"wants digests of what is not there", {greeting, open, ask(Type::kDigest, encode_extents(wide))}},
        {"wants digests of nothing", {greeting, open, ask(Type::kDigest, encode_extents({}))}},
        {"wants a map of nothing", {greeting, open, ask(Type::kMap, encode_extents({}))}},
        {"asks at length", {greeting, open, ask(Type::kRead, Bytes(kMostQuestion + 1))}},
        {"claims a length", {greeting, open, header_of(Type::kRead, 0x7fffffff)}},
    };
    for (const bool is_lost : {false, true})
        for (const auto& [name, script] : is_lost ? lost : dishonest) {
            const Ending ending = lying_target(script);
            EXPECT_EQ(ending.code, Code::kPeer) << name << ": " << ending.text;
            EXPECT_EQ(ending.was_lost, is_lost) << name << ": " << ending.text;
        }
    EXPECT_EQ(lying_target({greeting, encode(Message{Type::kOpen, 0, encode(Open{"other", {}, {}})})}).code,
              Code::kRefused);
    Token stolen{};
    stolen.fill(std::byte{1});
    EXPECT_EQ(
        lying_target({greeting, encode(Message{Type::kOpen, 0, encode(Open{"disk", {}, stolen})})}).code,
        Code::kRefused);
}

TEST(HostileTarget, WhoAsksAndNeverListensIsGoneInTime) {
    // Questions for 600 MiB, and not a byte taken: the wire holds 256 KiB.
    std::vector<Bytes> script = {encode(hello(Role::kAsks)),
                                 encode(Message{Type::kOpen, 0, encode(Open{"disk", {}, {}})})};
    const std::vector<block::Extent> extents = {{0, kMostAsked}};
    for (std::uint64_t id = 1; id < 600; ++id)
        script.push_back(encode(Message{Type::kRead, id, encode(ReadRequest{{}, extents})}));
    const auto bytes = std::make_shared<test::DiskBytes>(8 * kMiB);
    test::fill_pattern(bytes->content, 1);
    const MemoryDevice device(bytes);
    SeededRandom random(1);
    Offer offer(random);
    offer.add({"disk", device});
    Stage stage;
    for (const Bytes& message : script)
        stage.say(message);
    const Ending ending = ending_of([&] {
        AnswerOptions options;
        options.patience = test::hostile_patience();
        const Answered answered = answer(stage.us(), offer, options);
        throw_error(Code::kPeer, "{}", answered.lost);
    });
    EXPECT_EQ(ending.code, Code::kPeer);
}

// Says what any source says, and then that it is there, for ever. What ends a read from it.
Ending stalling_source(Patience patience, const std::function<void(Link&)>& meanwhile) {
    Stage stage;
    Peer us = stage.us();
    const std::jthread staller([&](const std::stop_token& over) {
        test::say_in_turn(stage, {encode(hello(Role::kAnswers)), encode(opened()), kPlanned});
        for (; !over.stop_requested(); std::this_thread::sleep_for(50ms))
            stage.say(Message{});
    });
    return ending_of([&] {
        SeededRandom random(1);
        LinkOptions options;
        options.patience = patience;
        Link link(std::move(us), random, options);
        const RemoteReader reader(link);
        meanwhile(link);
        Bytes buffer(kPieceBytes);
        reader.read(4 * kMiB, buffer);
    });
}

TEST(HostileSource, WhoIsThereAndNeverAnswersIsGivenUp) {
    Patience patience = test::short_patience();
    patience.answer = 300ms;
    const Ending ending = stalling_source(patience, [](Link&) {});
    EXPECT_EQ(ending.code, Code::kPeer);
    EXPECT_NE(ending.text.find("has not answered"), std::string::npos) << ending.text;
}

TEST(HostileSource, WhoIsThereAndNeverAnswersDoesNotKeepACopyFromBeingStopped) {
    std::stop_source stop;
    std::jthread person;
    const Ending ending = stalling_source(test::short_patience(), [&](Link& link) {
        link.set_stop(stop.get_token());
        person = std::jthread([&] {
            std::this_thread::sleep_for(100ms);
            stop.request_stop();
        });
    });
    EXPECT_EQ(ending.code, Code::kInterrupted) << ending.text;
}

// Says these, and then that it is there, for ever.
struct Beating {
    Beating(Stage& stage, const std::vector<Message>& first)
        : thread([&stage, first](const std::stop_token& over) {
              for (const Message& message : first)
                  stage.say(message);
              for (; !over.stop_requested(); std::this_thread::sleep_for(50ms))
                  stage.say(Message{});
          }) {}
    std::jthread thread;
};

TEST(HostileSource, WhoIsThereAndNeverOpensIsGivenUp) {
    for (const bool greets : {false, true}) {
        Stage stage;
        Peer us = stage.us();
        const Beating source(stage, greets ? std::vector{hello(Role::kAnswers)} : std::vector<Message>{});
        const Ending ending = ending_of([&] {
            SeededRandom random(1);
            LinkOptions options;
            options.patience = test::hostile_patience();
            const Link link(std::move(us), random, options);
        });
        EXPECT_EQ(ending.code, Code::kPeer) << ending.text;
    }
}

TEST(HostileTarget, WhoIsThereAndSaysNothingIsGivenUp) {
    const Message open{Type::kOpen, 0, encode(Open{"disk", {}, {}})};
    const std::vector<std::vector<Message>> scripts = {
        {},                                                // never greets
        {hello(Role::kAsks)},                              // never opens
        {hello(Role::kAsks), open, {Type::kData, 1, {}}},  // is thrown out, and stays
        {hello(Role::kAsks),
         open,
         {Type::kAbort, 1, encode(Failure{Code::kPeer, "no"})}}};  // goes, and stays
    const MemoryDevice device(std::uint64_t{8 * kMiB});
    for (const auto& script : scripts) {
        SeededRandom random(1);
        Offer offer(random);
        offer.add({"disk", device});
        Stage stage;
        Peer us = stage.us();
        const Beating target(stage, script);
        ending_of([&] {
            AnswerOptions options;
            options.patience = test::hostile_patience();
            const Answered answered = answer(std::move(us), offer, options);
            throw_error(Code::kPeer, "{}", answered.lost);
        });
    }
}

TEST(HostilePeer, OneByteAtATimeIsNotEndless) {
    Stage stage;
    std::jthread drip([&](const std::stop_token& stop) {
        const Bytes message = encode(Message{Type::kPrefill, 1, Bytes(1000)});
        stage.say(hello(Role::kAnswers));
        stage.say(opened());
        for (const std::byte byte : message) {
            if (stop.stop_requested()) return;
            stage.say(Bytes{byte});
            std::this_thread::sleep_for(50ms);
        }
    });
    const Ending ending = ending_of([&] {
        SeededRandom random(1);
        LinkOptions options;
        options.patience = test::hostile_patience();
        Link link(stage.us(), random, options);
        const RemoteReader reader(link);
    });
    EXPECT_EQ(ending.code, Code::kPeer);
}

}  // namespace
}  // namespace dupengine::wire
