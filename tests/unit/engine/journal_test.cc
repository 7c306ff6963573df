#include "engine/journal.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/random.h"
#include "tests/support/fake_devices.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using test::Call;
using test::DiskBytes;
using test::MemoryDevice;
using test::Operation;

codec::Sha256 id_of(unsigned number) {
    return codec::sha256(as_bytes(std::to_string(number)));
}

JournalBlock example(std::uint64_t seed = 1) {
    SeededRandom random(seed);
    JournalBlock block;
    block.number = 0;
    block.version = 1;
    for (std::size_t i = 0; i < kChunksOfABlock; i += 3)
        block.digests[i] = {random.next(), random.next()};
    return block;
}

void put(DiskBytes& disk, ByteOffset at, const Bytes& bytes) {
    std::copy(bytes.begin(), bytes.end(), disk.content.begin() + static_cast<std::ptrdiff_t>(at));
}

constexpr Extent kPlace{8192, 8192 + 4 * kJournalBlockBytes};
constexpr std::size_t kChunks = kChunksOfABlock + 10;

layout::IncompleteMark::Journal where() {
    return {kPlace, id_of(1), {}, {}};
}

std::size_t named(const JournalContent& content) {
    return static_cast<std::size_t>(
        std::count(content.chunks.was_equal.begin(), content.chunks.was_equal.end(), 1));
}

TEST(JournalBlock, IsReadAsItWasWritten) {
    const JournalBlock block = example();
    const Bytes bytes = encode_journal_block(block, id_of(1));
    ASSERT_EQ(bytes.size(), kJournalBlockBytes);
    const auto read = decode_journal_block(bytes, id_of(1));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->number, block.number);
    EXPECT_EQ(read->version, block.version);
    EXPECT_EQ(read->digests, block.digests);
}

TEST(JournalBlock, OfAnotherJournalIsNone) {
    EXPECT_FALSE(decode_journal_block(encode_journal_block(example(), id_of(1)), id_of(2)));
}

TEST(JournalBlock, WithAnyByteChangedIsNone) {
    const Bytes good = encode_journal_block(example(), id_of(1));
    for (std::size_t at = 0; at < good.size(); ++at) {
        Bytes damaged = good;
        damaged[at] ^= std::byte{0x10};
        ASSERT_FALSE(decode_journal_block(damaged, id_of(1))) << "byte " << at;
    }
}

TEST(JournalBlock, TornAtAnySectorIsNone) {
    const Bytes before = encode_journal_block(example(1), id_of(1));
    const Bytes after = encode_journal_block(example(2), id_of(1));
    for (std::size_t cut = 512; cut < after.size(); cut += 512) {
        Bytes torn = before;
        std::copy_n(after.begin(), cut, torn.begin());
        ASSERT_FALSE(decode_journal_block(torn, id_of(1))) << "cut after " << cut;
    }
    EXPECT_FALSE(decode_journal_block(std::span(after).first(4000), id_of(1)));
}

TEST(JournalContent, TheNewerVersionCountsAndATornOneLeavesTheOlder) {
    auto disk = std::make_shared<DiskBytes>(kMiB);
    JournalBlock older = example(1), newer = example(2);
    newer.version = 2;
    put(*disk, kPlace.begin + journal_block_offset(0, 1), encode_journal_block(older, id_of(1)));
    put(*disk, kPlace.begin + journal_block_offset(0, 2), encode_journal_block(newer, id_of(1)));
    EXPECT_EQ(read_journal(MemoryDevice(disk), where(), kChunks).chunks.digests[0], *newer.digests[0]);
    disk->content[kPlace.begin + journal_block_offset(0, 2) + 512] ^= std::byte{1};
    const JournalContent content = read_journal(MemoryDevice(disk), where(), kChunks);
    EXPECT_EQ(content.chunks.digests[0], *older.digests[0]);
    EXPECT_EQ(content.versions[0], 1u);
}

TEST(JournalContent, ABlockThatStandsWhereAnotherBelongsIsNotTaken) {
    auto disk = std::make_shared<DiskBytes>(kMiB);
    const Bytes block = encode_journal_block(example(), id_of(1));
    put(*disk, kPlace.begin + journal_block_offset(0, 2), block);  // the other one's place
    put(*disk, kPlace.begin + journal_block_offset(1, 1), block);  // another block's
    EXPECT_EQ(named(read_journal(MemoryDevice(disk), where(), kChunks)), 0u);
    put(*disk, kPlace.begin + journal_block_offset(0, 1), block);
    EXPECT_GT(named(read_journal(MemoryDevice(disk), where(), kChunks)), 0u);
}

TEST(JournalContent, NamesNoChunksBehindTheLast) {
    auto disk = std::make_shared<DiskBytes>(kMiB);
    JournalBlock block = example();
    block.number = 1;
    put(*disk, kPlace.begin + journal_block_offset(1, 1), encode_journal_block(block, id_of(1)));
    const JournalContent content = read_journal(MemoryDevice(disk), where(), kChunks);
    EXPECT_EQ(content.chunks.was_equal.size(), kChunks);
    EXPECT_EQ(named(content), 4u) << "of the last ten chunks every third";
}

struct Recording {
    std::shared_ptr<DiskBytes> disk = std::make_shared<DiskBytes>(kMiB);
    std::unique_ptr<MemoryDevice> device = std::make_unique<MemoryDevice>(disk);
    MemoryDevice& fake = *device;
    block::Target target{std::move(device), {}};
    std::vector<codec::Xxh128> digests{kChunks, codec::Xxh128{7, 8}};

    std::size_t flushes() const {
        const auto calls = fake.calls();
        return static_cast<std::size_t>(std::count_if(
            calls.begin(), calls.end(), [](const Call& c) { return c.operation == Operation::kFlush; }));
    }
    JournalContent content() const { return read_journal(MemoryDevice(disk), where(), kChunks); }
};

TEST(Journal, NamesAChunkOnlyAfterAFlush) {
    Recording r;
    Journal journal(r.target, where(), no_journal(kChunks), std::chrono::milliseconds(0));
    journal.chunk_written(3, r.digests);
    ASSERT_EQ(r.fake.calls().size(), 2u);
    EXPECT_EQ(r.fake.calls()[0].operation, Operation::kFlush);
    EXPECT_EQ(r.fake.calls()[1].operation, Operation::kWrite);
    EXPECT_EQ(named(r.content()), 1u);
    EXPECT_EQ(r.content().chunks.was_equal[3], 1);
    EXPECT_EQ(r.content().chunks.digests[3], r.digests[3]);
}

TEST(Journal, AFlushThatFailsNamesNothing) {
    Recording r;
    r.fake.set_interceptor([](std::size_t, const Call& call) {
        if (call.operation == Operation::kFlush) throw_error(Code::kTargetIo, "lost");
    });
    Journal journal(r.target, where(), no_journal(kChunks), std::chrono::milliseconds(0));
    EXPECT_THROW(journal.chunk_written(3, r.digests), Error);
    EXPECT_EQ(r.target.bytes_written(), 0u);
    EXPECT_EQ(named(r.content()), 0u);
}

TEST(Journal, KeepsWhatWasNamedAndWritesOverTheOlderVersion) {
    Recording r;
    {
        Journal journal(r.target, where(), no_journal(kChunks), std::chrono::milliseconds(0));
        for (const std::size_t chunk : {0u, 1u, 250u})
            journal.chunk_written(chunk, r.digests);
    }
    Journal next(r.target, where(), r.content(), std::chrono::milliseconds(0));
    next.chunk_written(2, r.digests);
    EXPECT_EQ(named(r.content()), 4u);
    EXPECT_EQ(r.content().versions, (std::vector<std::uint64_t>{3, 1}));
    // The version before is still there, whole.
    r.disk->content[kPlace.begin + journal_block_offset(0, 3)] = std::byte{0};
    EXPECT_EQ(named(r.content()), 3u);
}

TEST(Journal, FlushesNoMoreOftenThanItsPace) {
    Recording r;
    Journal journal(r.target, where(), no_journal(kChunks), std::chrono::hours(1));
    for (std::size_t chunk = 0; chunk < kChunks; ++chunk)
        journal.chunk_written(chunk, r.digests);
    EXPECT_EQ(r.flushes(), 0u);
    journal.record_before_stopping(r.digests);
    EXPECT_EQ(r.flushes(), 1u);
    EXPECT_EQ(named(r.content()), kChunks);
}

TEST(Journal, ErasedItLeavesZerosAndSaysSoIfItDoesNot) {
    Recording r;
    Journal journal(r.target, where(), no_journal(kChunks), std::chrono::milliseconds(0));
    journal.chunk_written(0, r.digests);
    EXPECT_EQ(journal.erase(block::Device::Zeroing::kDeallocate, {}), kPlace.size());
    EXPECT_TRUE(is_zero(r.disk->content));
    r.fake.set_interceptor([&](std::size_t, const Call& call) {
        if (call.operation == Operation::kReadFromMedium) r.disk->content[kPlace.end - 1] = std::byte{1};
    });
    EXPECT_THROW(journal.erase(block::Device::Zeroing::kDeallocate, {}), Error);
}

TEST(Journal, IsNotReadBackToTheEndAfterARequestToStop) {
    Recording r;
    Journal journal(r.target, where(), no_journal(kChunks), std::chrono::milliseconds(0));
    std::stop_source stop;
    stop.request_stop();
    try {
        journal.erase(block::Device::Zeroing::kDeallocate, stop.get_token());
        FAIL() << "a large one takes minutes";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kInterrupted);
    }
}

}  // namespace
}  // namespace dupengine::engine
