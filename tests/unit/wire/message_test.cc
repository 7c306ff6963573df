#include "wire/message.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "wire/fields.h"
#include "wire/pieces.h"

namespace dupengine::wire {
namespace {

using block::Extent;

Code code_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const Error& e) {
        return e.code();
    }
    return Code::kInternal;
}

Opened an_opened() {
    Opened opened;
    opened.geometry = {8 * kMiB, 512, 4096, true, true};
    opened.name = "/dev/sda";
    opened.state.fill(std::byte{3});
    opened.resume.fill(std::byte{4});
    return opened;
}

Opened a_row() {
    Opened opened = an_opened();
    opened.is_hot = true;
    opened.row = {{"/dev/sda", {3 * kMiB + 512, 512, 4096, true, true}, 0},
                  {"/dev/sdb", {4 * kMiB, 4096, 4096, true}, 4 * kMiB}};
    return opened;
}

Result a_result() {
    return {"/dev/sdb", true, 1, 2, 3, 4, 5, {"one note", "another"}};
}

// Every payload, whole, and what reads it.
struct Case {
    const char* name;
    Bytes payload;
    std::function<void(std::span<const std::byte>)> decode;
};

std::vector<Case> all_payloads() {
    const std::vector<Extent> extents = {{0, 512}, {4096, 70'000}, {kMiB, kMiB + 1}};
    return {
        {"hello", encode(Hello{Role::kAnswers, "0.1"}), [](auto p) { decode_hello(p); }},
        {"open", encode(Open{"web", {}, {}}), [](auto p) { decode_open(p); }},
        {"opened", encode(an_opened()), [](auto p) { decode_opened(p); }},
        {"row", encode(a_row()), [](auto p) { decode_opened(p); }},
        {"read", encode(ReadRequest{block::Reader::From::kMedium, extents}), [](auto p) { decode_read(p); }},
        {"extents", encode_extents(extents), [](auto p) { decode_extents(p); }},
        {"mapped", encode(Mapped{2 * kMiB, extents}), [](auto p) { decode_mapped(p); }},
        {"progress", encode(ProgressNote{"copy", 1, 2, 0, 0}), [](auto p) { decode_progress(p); }},
        {"result", encode(a_result()), [](auto p) { decode_result(p); }},
        {"failure", encode(Failure{Code::kRefused, "no"}), [](auto p) { decode_failure(p); }},
    };
}

TEST(WireMessages, WhatIsWrittenIsRead) {
    const Opened opened = decode_opened(encode(an_opened()));
    EXPECT_EQ(opened.geometry.size_bytes, 8 * kMiB);
    EXPECT_TRUE(opened.geometry.rotational && opened.geometry.is_block_device);
    EXPECT_EQ(opened.geometry.physical_sector_bytes, 4096u);
    EXPECT_EQ(opened.name, "/dev/sda");
    EXPECT_EQ(opened.resume, an_opened().resume);
    const Result result = decode_result(encode(a_result()));
    EXPECT_EQ(result.bytes_verified, 5u);
    EXPECT_EQ(result.notes, a_result().notes);
    const std::vector<Extent> extents = {{0, 1}, {1ull << 40, (1ull << 40) + 512}};
    EXPECT_EQ(decode_extents(encode_extents(extents)), extents);
    const ReadRequest read = decode_read(encode(ReadRequest{block::Reader::From::kMedium, {{512, 1024}}}));
    EXPECT_EQ(read.from, block::Reader::From::kMedium);
    EXPECT_EQ(read.extents.front().end, 1024u);
    EXPECT_EQ(decode_progress(encode(ProgressNote{"verify", 3, 9, 1, 2})).total_bytes, 9u);
}

TEST(WireMessages, DisksOfARowLieBesideEachOtherAndInsideIt) {
    const Opened opened = decode_opened(encode(a_row()));
    ASSERT_EQ(opened.row.size(), 2u);
    EXPECT_EQ(opened.row[1].name, "/dev/sdb");
    EXPECT_EQ(opened.row[1].extent(), (Extent{4 * kMiB, 8 * kMiB}));
    EXPECT_EQ(opened.row[1].geometry.logical_sector_bytes, 4096u);
    const std::vector<std::function<void(Opened&)>> wrong = {
        [](Opened& o) { o.row[1].begin = 3 * kMiB; },
        [](Opened& o) { o.row[1].begin = 4 * kMiB + 512; },
        [](Opened& o) { o.row[1].begin = 8 * kMiB; },
        [](Opened& o) { o.row[1].geometry.size_bytes += 512; },
        [](Opened& o) { o.row[0].geometry.size_bytes = 0; },
        [](Opened& o) { o.row[0].geometry.logical_sector_bytes = 500; },
        [](Opened& o) { o.row.resize(block::kMostRowDisks + 1, o.row[0]); }};
    for (std::size_t i = 0; i < wrong.size(); ++i) {
        Opened dishonest = a_row();
        wrong[i](dishonest);
        EXPECT_EQ(code_of([&] { decode_opened(encode(dishonest)); }), Code::kPeer) << i;
    }
}

TEST(WireMessages, EveryPayloadThatEndsTooEarlyIsThePeersFault) {
    for (const Case& c : all_payloads()) {
        EXPECT_NO_THROW(c.decode(c.payload)) << c.name;
        for (std::size_t size = 0; size < c.payload.size(); ++size)
            EXPECT_EQ(code_of([&] { c.decode(std::span(c.payload).first(size)); }), Code::kPeer)
                << c.name << " cut to " << size;
        Bytes longer = c.payload;
        longer.push_back(std::byte{0});
        EXPECT_EQ(code_of([&] { c.decode(longer); }), Code::kPeer) << c.name;
    }
}

TEST(WireMessages, NoBitThatIsFlippedDoesMoreThanBeRefused) {
    for (const Case& c : all_payloads())
        for (std::size_t bit = 0; bit < c.payload.size() * 8; ++bit) {
            Bytes flipped = c.payload;
            flipped[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
            try {
                c.decode(flipped);
            } catch (const Error& e) {
                // Numbers that are too large together are damage, everything else is not honest.
                EXPECT_TRUE(e.code() == Code::kPeer || e.code() == Code::kIntegrity) << e.what();
            }
        }
}

TEST(WireMessages, AHeaderWithALengthOutOfBoundsIsRefusedBeforeMemoryIsTaken) {
    Bytes bytes(kHeaderBytes);
    encode_header({Type::kData, 1, static_cast<std::uint32_t>(kMostPayload)}, bytes);
    EXPECT_EQ(decode_header(bytes).payload_bytes, kMostPayload);
    encode_header({Type::kData, 1, static_cast<std::uint32_t>(kMostPayload + 1)}, bytes);
    EXPECT_EQ(code_of([&] { decode_header(bytes); }), Code::kPeer);
    encode_header({static_cast<Type>(99), 1, 0}, bytes);
    EXPECT_EQ(code_of([&] { decode_header(bytes); }), Code::kPeer);
}

TEST(WireMessages, AQuestionAboutTooMuchIsRefused) {
    EXPECT_EQ(code_of([] { decode_read(encode(ReadRequest{{}, {{0, kMostAsked + 1}}})); }), Code::kPeer);
    std::vector<Extent> many;
    for (std::uint64_t i = 0; i <= kMostExtents; ++i)
        many.push_back({2 * i, 2 * i + 1});
    EXPECT_EQ(code_of([&] { decode_extents(encode_extents(many)); }), Code::kPeer);
    // A count that nothing follows takes no memory.
    FieldWriter fields;
    fields.short_number(~std::uint64_t{0});
    EXPECT_EQ(code_of([&] { decode_extents(fields.take()); }), Code::kPeer);
}

TEST(WireMessages, ADiskThatCannotBeIsRefused) {
    for (const auto& spoil : std::vector<std::function<void(Opened&)>>{
             [](Opened& o) { o.geometry.size_bytes = 0; },
             [](Opened& o) { o.geometry.size_bytes = ~std::uint64_t{0}; },
             [](Opened& o) { o.geometry.logical_sector_bytes = 0; },
             [](Opened& o) { o.geometry.logical_sector_bytes = 513; },
             [](Opened& o) { o.geometry.physical_sector_bytes = 1u << 31; }}) {
        Opened opened = an_opened();
        spoil(opened);
        EXPECT_EQ(code_of([&] { decode_opened(encode(opened)); }), Code::kPeer);
    }
}

TEST(WireMessages, WhatAPeerSaysCannotSpeakToTheTerminal) {
    const Failure failure = decode_failure(encode(Failure{Code::kRefused, "a\x1b[2Jb\nc"}));
    EXPECT_EQ(failure.text, "a?[2Jb?c");
    EXPECT_EQ(decode_failure(encode(Failure{Code::kInternal, "x"})).code, Code::kPeer)
        << "its fault is not an internal error of ours";
}

TEST(WirePieces, BytesArriveAsTheyWere) {
    CompressionGauge gauge;
    gauge.learn_sent(1, std::chrono::nanoseconds(100'000));  // a slow link: compressing pays
    PieceEncoder encoder(gauge);
    Bytes bytes(3 * kPieceBytes + 1000);
    SeededRandom random(1);
    random.fill(std::span(bytes).first(kPieceBytes));
    std::fill_n(bytes.begin() + 2 * kPieceBytes, kPieceBytes, std::byte{'a'});
    Bytes packed;
    encoder.encode(bytes, packed);
    EXPECT_LT(packed.size(), kPieceBytes + 2000) << "zeros and letters travelled as they are";
    EXPECT_EQ(count_piece_bytes(packed), bytes.size());
    Bytes back(bytes.size(), std::byte{9});
    decode_pieces(packed, back);
    EXPECT_EQ(back, bytes);
    for (std::size_t size = 0; size < packed.size(); size += 97)
        EXPECT_EQ(code_of([&] { decode_pieces(std::span(packed).first(size), back); }), Code::kPeer);
    EXPECT_EQ(code_of([&] { decode_pieces(packed, std::span(back).first(back.size() - 1)); }), Code::kPeer);
}

TEST(Message, RoundsComeBackAsTheyWere) {
    const RoundRequest request = decode_round(encode(RoundRequest{7, 4096}));
    EXPECT_EQ(request.number, 7u);
    EXPECT_EQ(request.from, 4096u);
    const Changed changed = decode_changed(encode(Changed{{{0, 4096}, {8192, 12288}}, 16384, true}));
    EXPECT_EQ(changed.extents, (std::vector<block::Extent>{{0, 4096}, {8192, 12288}}));
    EXPECT_EQ(changed.next, 16384u);
    EXPECT_TRUE(changed.is_last);
    EXPECT_EQ(decode_changed(encode(Changed{{}, 0, true, "{}"})).report, "{}");
    const std::string long_report(kMostReport + 1, ' ');
    EXPECT_EQ(code_of([&] { decode_changed(encode(Changed{{}, 0, true, long_report})); }), Code::kPeer);
    const Bytes whole = encode(Changed{{{0, 4096}}, 0, false});
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_EQ(code_of([&] { decode_changed(std::span(whole).first(size)); }), Code::kPeer);
}

TEST(Message, ARoundThatDoesNotGetOnIsNotHonest) {
    for (const ByteOffset next : {ByteOffset{1}, ByteOffset{4095}})
        EXPECT_EQ(code_of([&] { decode_changed(encode(Changed{{{0, 4096}}, next, false})); }), Code::kPeer);
    EXPECT_EQ(code_of([&] { decode_changed(encode(Changed{{}, 4096, false})); }), Code::kPeer);
}

TEST(Message, AMachinesMemoryIsOfferedWithADiskThatIsFollowed) {
    Opened opened{{1 << 20, 512, 512, true, false}, "disk", {}, {}, false, false, true, {}};
    opened.resume.fill(std::byte{1});
    opened.memory = OfferedMemory{"kernel: Linux\n", 1000, 900, {}, true};
    opened.memory->key.fill(std::byte{3});
    const Bytes whole = encode(opened);
    EXPECT_EQ(decode_opened(whole).memory, opened.memory);
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_EQ(code_of([&] { decode_opened(std::span(whole).first(size)); }), Code::kPeer);
    opened.is_hot = false;
    EXPECT_EQ(code_of([&] { decode_opened(encode(opened)); }), Code::kPeer);
}

TEST(Message, AGroupOfMemoryIsOneOrSaysWhyNot) {
    using Kind = GroupHead::Kind;
    EXPECT_EQ(decode_memory(encode(MemoryRequest{9})).number, 9u);
    EXPECT_EQ(decode_group_head(encode(GroupHead{Kind::kGroup, 1000})).bytes, 1000u);
    EXPECT_EQ(decode_group_head(encode(GroupHead{Kind::kEnd, 0})).kind, Kind::kEnd);
    for (const GroupHead& head :
         {GroupHead{Kind::kGroup, 0}, GroupHead{Kind::kEnd, 1}, GroupHead{Kind::kNotYet, 1},
          GroupHead{Kind::kGroup, kMostAsked + 1}, GroupHead{Kind{0}, 0}, GroupHead{Kind{4}, 0}})
        EXPECT_EQ(code_of([&] { decode_group_head(encode(head)); }), Code::kPeer);
}

TEST(WirePieces, CompressingIsGivenUpWhereItDoesNotPayAndTriedAgain) {
    CompressionGauge gauge;
    gauge.learn_sent(1000, std::chrono::nanoseconds(1000));
    const auto tries_of = [&](unsigned pieces, std::size_t stored, std::chrono::nanoseconds time) {
        unsigned tries = 0;
        for (unsigned i = 0; i < pieces; ++i) {
            if (!gauge.should_try()) continue;
            ++tries;
            gauge.learn_compressed(kPieceBytes, stored, time);
        }
        return tries;
    };
    EXPECT_LT(tries_of(4096, kPieceBytes, std::chrono::nanoseconds(1)), 20u) << "what has no redundancy";
    EXPECT_LT(tries_of(4096, kPieceBytes / 2, std::chrono::nanoseconds(kPieceBytes)), 20u)
        << "a link that is faster than the compressor";
    gauge.learn_sent(1, std::chrono::nanoseconds(1'000'000));
    EXPECT_GT(tries_of(4096, kPieceBytes / 2, std::chrono::nanoseconds(kPieceBytes)), 1000u)
        << "once it pays, it goes on";
}

TEST(Message, NothingThatATerminalObeysComesThroughAText) {
    EXPECT_EQ(tame("a\x1b[2J\nb"), "a?[2J?b");
    EXPECT_EQ(tame("a\u009b2Jb"), "a?2Jb") << "the C1 form of the same";
    EXPECT_EQ(tame("a\u202egpj.exe\u2066\u200f\u2028"), "a?gpj.exe???");
    EXPECT_EQ(tame("Gr\u00fc\u00dfe \u2026"), "Gr\u00fc\u00dfe \u2026");
    EXPECT_EQ(tame("ab\u00fc", 3), "ab") << "half a character";
    EXPECT_EQ(tame("ab\u00fc", 4), "ab\u00fc");
}

}  // namespace
}  // namespace dupengine::wire
