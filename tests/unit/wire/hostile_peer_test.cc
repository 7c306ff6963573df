// What a peer that is not honest can do: nothing but end the connection, soon and with one line.

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/gpt_disk.h"
#include "tests/support/wire_rig.h"
#include "wire/remote_reader.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::MemoryDevice;
using test::WireRig;

constexpr Patience kShort{
    .silence = 300ms, .message = 600ms, .beat = 100ms, .farewell = 100ms, .outage = 100ms};

// One end is ours, at the other end the test says what it likes.
struct Stage {
    Stage() {
        auto ends = test::memory_transports();
        ours = std::move(ends.first), theirs = std::move(ends.second);
    }
    Peer us() { return {std::move(ours), {}, "stranger"}; }
    void say(const Message& message) { say(encode(message)); }
    void say(const Bytes& bytes) {
        try {
            theirs->send(bytes, after(1s));
        } catch (const Error&) {
            // We have ended it already.
        }
    }
    std::unique_ptr<Transport> ours, theirs;
};

Message hello(Role role) {
    return {Type::kHello, 0, encode(Hello{role, "0"})};
}

Message opened() {
    Opened disk;
    disk.geometry.size_bytes = 8 * kMiB;
    disk.name = "disk";
    disk.resume.fill(std::byte{1});
    return {Type::kOpened, 0, encode(disk)};
}

struct Ending {
    Code code = Code::kInternal;
    std::string text;
};

Ending ending_of(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    Ending ending;
    try {
        work();
        ADD_FAILURE() << "it was taken for honest";
    } catch (const Error& e) {
        ending = {e.code(), e.what()};
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, 20s) << "it kept us for too long";
    EXPECT_EQ(ending.text.find('\n'), std::string::npos);
    return ending;
}

// Reads messages, whole ones, and says the next part of the script to each, until the connection ends.
void say_in_turn(Stage& stage, const std::vector<Bytes>& script) {
    try {
        for (const Bytes& bytes : script) {
            Bytes header(kHeaderBytes);
            receive_exact(*stage.theirs, header, after(10s));
            Bytes payload(decode_header(header).payload_bytes);
            receive_exact(*stage.theirs, payload, after(10s));
            stage.say(bytes);
        }
    } catch (const Error&) {
        // We have ended it.
    }
}

// A source's end that says the parts of the script in turn, whatever it is asked.
Ending lying_source(const std::vector<Bytes>& script, const std::function<void(RemoteReader&)>& use = {}) {
    Stage stage;
    Peer us = stage.us();
    const std::jthread liar([&] { say_in_turn(stage, script); });
    return ending_of([&] {
        SeededRandom random(1);
        LinkOptions options;
        options.patience = kShort;
        Link link(std::move(us), random, options);
        RemoteReader reader(link);
        if (use) use(reader);
    });
}

// The questions of a target's end that says `script`, whatever it is answered.
Ending lying_target(const std::vector<Bytes>& script) {
    const MemoryDevice device(std::uint64_t{8 * kMiB});
    SeededRandom random(1);
    Offer offer(random);
    offer.add({"disk", device});
    Stage stage;
    for (const Bytes& bytes : script)
        stage.say(bytes);
    return ending_of([&] {
        AnswerOptions options;
        options.patience = kShort;
        const Answered answered = answer(stage.us(), offer, options);
        if (!answered.result) throw_error(Code::kPeer, "{}", answered.lost);
    });
}

Bytes header_of(Type type, std::uint32_t payload_bytes) {
    Bytes bytes(kHeaderBytes);
    encode_header({type, 1, payload_bytes}, bytes);
    return bytes;
}

Bytes together(Bytes first, const Bytes& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

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
    const std::vector<std::pair<const char*, std::vector<Bytes>>> scripts = {
        {"says nothing", {}},
        {"offers as well", {encode(hello(Role::kAnswers))}},
        {"asks before it opens", {greeting, ask(Type::kRead, {})}},
        {"answers", {greeting, open, ask(Type::kData, {})}},
        {"opens twice", {greeting, open, open}},
        {"is silent", {greeting, open}},
        {"asks for what lies behind the end",
         {greeting, open, ask(Type::kRead, encode(ReadRequest{{}, behind}))}},
        {"asks for nothing", {greeting, open, ask(Type::kRead, encode(ReadRequest{{}, {}}))}},
        {"asks for too much", {greeting, open, ask(Type::kRead, encode(ReadRequest{{}, many}))}},
        {"wants digests of what is not there", {greeting, open, ask(Type::kDigest, encode_extents(wide))}},
        {"wants digests of nothing", {greeting, open, ask(Type::kDigest, encode_extents({}))}},
        {"wants a map of nothing", {greeting, open, ask(Type::kMap, encode_extents({}))}},
        {"asks at length", {greeting, open, ask(Type::kRead, Bytes(kMostQuestion + 1))}},
        {"claims a length", {greeting, open, header_of(Type::kRead, 0x7fffffff)}},
        {"never ends", {greeting, open, header_of(Type::kRead, 1000)}},
    };
    for (const auto& [name, script] : scripts) {
        const Ending ending = lying_target(script);
        EXPECT_EQ(ending.code, Code::kPeer) << name << ": " << ending.text;
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
        options.patience = kShort;
        const Answered answered = answer(stage.us(), offer, options);
        throw_error(Code::kPeer, "{}", answered.lost);
    });
    EXPECT_EQ(ending.code, Code::kPeer);
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
        options.patience = kShort;
        Link link(stage.us(), random, options);
        const RemoteReader reader(link);
    });
    EXPECT_EQ(ending.code, Code::kPeer);
}

}  // namespace
}  // namespace dupengine::wire
