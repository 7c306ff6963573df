// Both ends of a transfer, over connections in memory.

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "block/transfers.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/remote_copy.h"
#include "tests/support/wire_rig.h"
#include "wire/remote_reader.h"

namespace dupengine::wire {
namespace {

using block::Extent;
using test::DiskBytes;
using test::MemoryDevice;
using test::WireRig;

constexpr std::uint64_t kSize = 8 * kMiB + 1536;

std::shared_ptr<DiskBytes> a_disk() {
    auto bytes = std::make_shared<DiskBytes>(kSize);
    test::fill_pattern(bytes->content, 5);
    std::fill_n(bytes->content.begin() + kMiB, kMiB, std::byte{0});
    std::fill_n(bytes->content.begin() + 3 * kMiB, kMiB, std::byte{'x'});
    return bytes;
}

struct Ends {
    explicit Ends(std::shared_ptr<DiskBytes> disk = a_disk())
        : bytes(std::move(disk)), device(bytes, 512, "/dev/source"), rig(device) {
        link = rig.link();
        reader = std::make_unique<RemoteReader>(*link);
    }
    Bytes read(Extent e) const { return block::read_extent(*reader, e); }
    Bytes start_read(Extent e) const {
        block::Transfers transfers(align_up(e.size(), 4096), 4);
        const auto buffer = transfers.memory().first(e.size());
        reader->start_read(transfers, 1, e.begin, buffer, block::Reader::From::kAnywhere);
        EXPECT_EQ(transfers.wait().tag, 1u);
        return {buffer.begin(), buffer.end()};
    }
    Bytes ours(Extent e) const {
        return {bytes->content.begin() + static_cast<std::ptrdiff_t>(e.begin),
                bytes->content.begin() + static_cast<std::ptrdiff_t>(e.end)};
    }
    std::shared_ptr<DiskBytes> bytes;
    MemoryDevice device;
    WireRig rig;
    std::unique_ptr<Link> link;
    std::unique_ptr<RemoteReader> reader;
};

TEST(RemoteReader, IsTheDiskAtTheOtherEnd) {
    const Ends ends;
    EXPECT_EQ(ends.reader->geometry().size_bytes, kSize);
    EXPECT_EQ(ends.reader->name(), "source-end /dev/source");
    for (const Extent e : {Extent{0, 1}, Extent{1000, 70'000}, Extent{0, kSize}, Extent{kSize - 7, kSize},
                           Extent{kMiB - 3, 2 * kMiB + 3}})
        EXPECT_EQ(ends.read(e), ends.ours(e)) << e.text();
    Bytes one(1);
    EXPECT_THROW(ends.reader->read(kSize, one), Error);
    EXPECT_TRUE(ends.link->finish({}));
}

TEST(RemoteReader, WhatIsExpectedComesInOrderAndNothingElseDoes) {
    const Ends ends;
    const block::ExtentSet expected = {{512, 300'000}, {400'000, 2 * kMiB}, {5 * kMiB, kSize}};
    ends.reader->expect(expected);
    const std::uint64_t before = ends.link->bytes_received();
    for (ByteOffset at = 0; at < kSize; at += kMiB) {
        const Extent chunk{at, std::min(at + kMiB, kSize)};
        Bytes want(chunk.size());
        for (Extent e : expected.clipped_to(chunk))
            std::ranges::copy(ends.ours(e), want.begin() + static_cast<std::ptrdiff_t>(e.begin - at));
        EXPECT_EQ(ends.start_read(chunk), want) << chunk.text();
    }
    EXPECT_LT(ends.link->bytes_received() - before, expected.total_bytes() + 64 * kKiB)
        << "something was sent twice";
    EXPECT_EQ(ends.start_read({512, 1024}), ends.ours({512, 1024})) << "a step back";
    EXPECT_EQ(ends.read({300'000, 400'000}), ends.ours({300'000, 400'000}))
        << "a plain read is of all there is";
}

TEST(RemoteReader, WhatIsThereAlreadyIsToldByDigest) {
    const Ends ends;
    const block::ExtentSet expected = {{512, 300'000}, {5 * kMiB, kSize}};
    ends.reader->expect(expected);
    const std::uint64_t before = ends.link->bytes_received();
    for (ByteOffset at = 0; at < kSize; at += kPieceBytes) {
        Bytes piece(kPieceBytes);
        for (Extent e : expected.clipped_to({at, std::min(at + kPieceBytes, kSize)}))
            std::ranges::copy(ends.ours(e), piece.begin() + static_cast<std::ptrdiff_t>(e.begin - at));
        const bool any = expected.touches({at, at + kPieceBytes});
        EXPECT_EQ(ends.reader->holds(at, piece), any) << at;
        piece[kPieceBytes / 2] ^= std::byte{1};
        EXPECT_FALSE(ends.reader->holds(at, piece)) << at;
    }
    EXPECT_LT(ends.link->bytes_received() - before, 8 * kKiB) << "more than digests came";
}

TEST(RemoteReader, WhatIsToldToBeReadComesBeforeItIsWaitedFor) {
    const Ends ends;
    ends.reader->expect({{5 * kMiB, kSize}});
    const std::uint64_t before = ends.link->bytes_received();
    for (std::uint64_t i = 0; i < 8; ++i)
        EXPECT_TRUE(ends.reader->will_read({5 * kMiB + i * kPieceBytes, 5 * kMiB + (i + 1) * kPieceBytes}));
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (ends.link->bytes_received() - before < 8 * kPieceBytes && std::chrono::steady_clock::now() < late)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_GE(ends.link->bytes_received() - before, 8 * kPieceBytes);
    for (std::uint64_t i = 0; i < 8; ++i) {
        const Extent piece{5 * kMiB + i * kPieceBytes, 5 * kMiB + (i + 1) * kPieceBytes};
        EXPECT_EQ(ends.read(piece), ends.ours(piece));
    }
    EXPECT_LT(ends.link->bytes_received() - before, 9 * kPieceBytes) << "something was sent twice";
    EXPECT_FALSE(ends.reader->will_read({5 * kMiB, 7 * kMiB})) << "a large range is not of that kind";
}

TEST(RemoteReader, WhatWasToldToBeReadIsNotOfALaterMoment) {
    const Ends ends;
    const Extent piece{5 * kMiB, 5 * kMiB + kPieceBytes};
    ends.reader->expect({{5 * kMiB, kSize}});
    EXPECT_TRUE(ends.reader->will_read(piece));
    const Bytes before = ends.ours(piece);
    EXPECT_EQ(ends.read(piece), before);
    ends.bytes->content[piece.begin] ^= std::byte{1};
    EXPECT_EQ(ends.read(piece), ends.ours(piece)) << "it was kept";
}

TEST(RemoteReader, BytesThatAreNotThoseOfTheirDigestAreNotTaken) {
    const Ends ends;
    ends.reader->expect({{5 * kMiB, 6 * kMiB + 512}});
    Bytes ours(kPieceBytes);
    EXPECT_FALSE(ends.reader->holds(5 * kMiB, ours));
    Bytes theirs(2 * kPieceBytes + 512);
    ends.reader->read(5 * kMiB, theirs);
    ends.bytes->content[5 * kMiB + kPieceBytes + 7] ^= std::byte{1};
    try {
        ends.reader->read(5 * kMiB, theirs);
        FAIL() << "it was taken";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
    }
    ends.bytes->content[6 * kMiB + 600] ^= std::byte{1};
    ends.reader->read(6 * kMiB, theirs);  // its digest is of a part of it
}

TEST(RemoteReader, BytesThatComeAheadAreThoseOfTheirDigestToo) {
    const Ends ends;
    const Extent expected{5 * kMiB, 6 * kMiB};
    ends.reader->expect({expected});
    EXPECT_FALSE(ends.reader->holds(expected.begin, Bytes(kPieceBytes)));
    ends.bytes->content[expected.begin + 7] ^= std::byte{1};
    try {
        ends.start_read(expected);
        FAIL() << "it was taken";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
    }
}

TEST(RemoteReader, ManySmallExtentsHaveTheirDigests) {
    const Ends ends;
    block::ExtentSet expected;
    for (ByteOffset at = 0; at < 6 * kMiB; at += 1024)
        expected.insert({at, at + 512});
    ends.reader->expect(expected);
    for (ByteOffset at = 0; at < 6 * kMiB; at += kPieceBytes) {
        Bytes piece(kPieceBytes);
        for (Extent e : expected.clipped_to({at, at + kPieceBytes}))
            std::ranges::copy(ends.ours(e), piece.begin() + static_cast<std::ptrdiff_t>(e.begin - at));
        EXPECT_TRUE(ends.reader->holds(at, piece)) << at;
    }
}

TEST(RemoteReader, ASectorThatCannotBeReadIsTheSourcesError) {
    Ends ends;
    ends.device.set_interceptor([](std::size_t, const test::Call& call) {
        if (call.extent.touches({5 * kMiB, 5 * kMiB + 512}))
            throw_error(Code::kSourceIo, "/dev/source: bad sector");
    });
    Bytes buffer(kMiB);
    try {
        ends.reader->read_from_medium(5 * kMiB, buffer);
        FAIL() << "nobody was told";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kSourceIo);
        EXPECT_STREQ(e.what(), "/dev/source: bad sector");
    }
    ends.reader->read_from_medium(6 * kMiB, buffer);
    EXPECT_EQ(buffer, ends.ours({6 * kMiB, 7 * kMiB})) << "it went on";
}

TEST(RemoteReader, PlanningReadsNothingThatWasNotToldBefore) {
    const auto disk = test::make_gpt_disk(8 * kMiB, {{1, {kMiB, 3 * kMiB}, "root"}}, 3);
    Ends ends(disk);
    const std::size_t before = ends.device.calls().size();
    const auto described = layout::read_partition_table(*ends.reader);
    EXPECT_EQ(described.partitions.size(), 1u);
    EXPECT_EQ(ends.device.calls().size(), before);
}

TEST(Link, ABrokenConnectionIsReplacedAndNothingIsLost) {
    const auto bytes = a_disk();
    const MemoryDevice device(bytes, 512, "/dev/source");
    WireRig rig(device);
    for (std::uint64_t cut : {300'000, 500'000, 700'000})
        rig.connections.push_back({.second_cut = cut});
    const auto link = rig.link();
    const RemoteReader reader(*link);
    EXPECT_EQ(block::read_extent(reader, {0, kSize}), bytes->content);
    EXPECT_GE(link->times_reconnected(), 1u);
}

TEST(Link, WithoutAnotherConnectionItEndsWithOneLine) {
    const MemoryDevice device(a_disk(), 512, "/dev/source");
    WireRig rig(device);
    rig.connections.push_back({.second_cut = 1'000'000});
    const auto link = rig.link(false);
    try {
        const RemoteReader reader(*link);
        block::read_extent(reader, {0, kSize});
        FAIL() << "it cannot have come";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kPeer);
        EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    }
}

TEST(Link, AnotherMachineCannotTakeTheCopyOver) {
    const MemoryDevice device(a_disk(), 512, "/dev/source");
    WireRig rig(device);
    rig.connections.push_back({.second_cut = 400'000});
    LinkOptions options;
    options.patience = test::short_patience();
    options.connect_again = [&](Deadline, const std::stop_token&) {
        Peer peer = rig.connect();
        peer.key.fill(std::byte{99});
        return peer;
    };
    Link link(rig.connect(), rig.random(), options);
    try {
        const RemoteReader reader(link);
        block::read_extent(reader, {0, kSize});
        FAIL() << "it was taken";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kAuthenticity) << e.what();
    }
}

TEST(Offer, ATokenOpensNothingElse) {
    const MemoryDevice device(a_disk(), 512, "/dev/source");
    WireRig rig(device, 1), other(device, 2);
    const MemoryDevice second(a_disk(), 512, "/dev/second");
    rig.offer().add({"second", second});
    Token transfer{}, another{};
    transfer.fill(std::byte{1}), another.fill(std::byte{2});
    const codec::Sha256 peer{std::byte{1}}, stranger{std::byte{2}};
    const Token token = rig.offer().admit({"disk", transfer, {}}, peer).opened.resume;
    EXPECT_NO_THROW(rig.offer().admit({"disk", transfer, token}, peer));
    EXPECT_THROW(rig.offer().admit({"disk", transfer, token}, stranger), Error) << "another peer";
    EXPECT_THROW(rig.offer().admit({"disk", another, token}, peer), Error) << "another copy";
    EXPECT_THROW(rig.offer().admit({"second", transfer, token}, peer), Error) << "another disk";
    EXPECT_THROW(other.offer().admit({"disk", transfer, token}, peer), Error) << "another offer";
    EXPECT_THROW(rig.offer().admit({"third", transfer, {}}, peer), Error) << "not offered";
    EXPECT_THROW(rig.offer().admit({"", transfer, {}}, peer), Error) << "which of two?";
}

TEST(Offer, ADiskThatWasWrittenSinceIsNotOpened) {
    const MemoryDevice device(a_disk(), 512, "/dev/source");
    WireRig rig(OfferedDisk{"disk", device, [] { return "was written"; }});
    try {
        rig.link();
        FAIL() << "it was opened";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_STREQ(e.what(), "source-end: /dev/source: was written since it was offered");
    }
}

TEST(Offer, WhatTheTargetEndCameToIsTold) {
    Ends ends;
    EXPECT_TRUE(ends.link->finish({"/dev/target", true, 1, 2, 3, 4, 5, {}}));
    ends.link.reset();
    ends.rig.wait_for_answers();
    EXPECT_EQ(ends.rig.outcomes(), std::vector<std::string>{"done"});
}

TEST(Offer, ARefusalOfTheTargetEndIsTold) {
    Ends ends;
    EXPECT_TRUE(ends.link->abort({Code::kRefused, "/dev/target: is in use"}));
    ends.link.reset();
    ends.rig.wait_for_answers();
    EXPECT_EQ(ends.rig.outcomes(), std::vector<std::string>{"asker: /dev/target: is in use"});
}

// The digests of a whole group cannot be had then; the rest of the group can.
TEST(Transfer, OneBadSectorCostsASectorWhereTheTargetIsCompared) {
    constexpr std::uint64_t kDisk = 8 * kMiB;
    const Extent data{kMiB, 6 * kMiB}, bad{3 * kMiB + 512, 3 * kMiB + 1024};
    const auto from = test::make_gpt_disk(kDisk, {{1, data, "root"}}, 1);
    const auto to = std::make_shared<DiskBytes>(kDisk);
    to->content = from->content;
    to->content[2 * kMiB] ^= std::byte{1};
    to->content[bad.begin] ^= std::byte{1};
    MemoryDevice device(from, 512, "/dev/source");
    device.set_interceptor([&](std::size_t, const test::Call& call) {
        if (call.extent.touches(bad)) throw_errno(Code::kSourceIo, EIO, "/dev/source: {}", bad.text());
    });
    WireRig rig(device);
    test::RemoteCopyOptions options;
    options.copy.delta = engine::Delta::kAlways;
    const auto link = rig.link();
    EXPECT_THROW(test::copy_over(*link, to, options), Error) << "nobody has said that it may lack a sector";
    const auto again = rig.link();
    options.copy.tolerate_bad_sectors = true;
    const engine::CopyReport report = test::copy_over(*again, to, options);
    Bytes want = test::part_of(from->content, data);
    std::fill_n(want.begin() + static_cast<std::ptrdiff_t>(bad.begin - data.begin), bad.size(), std::byte{0});
    EXPECT_EQ(test::part_of(to->content, data), want);
    EXPECT_EQ(report.bad_sectors.size(), 1u);
}

TEST(Offer, AStopAtTheSourceEndsTheTargetToo) {
    Ends ends;
    ends.rig.stop.request_stop();
    Bytes buffer(512);
    try {
        for (;;)
            ends.reader->read_from_medium(0, buffer);
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kPeer) << "nobody stopped this end";
        EXPECT_NE(std::string(e.what()).find("stopped on request at the source's end"), std::string::npos);
    }
}

}  // namespace
}  // namespace dupengine::wire
