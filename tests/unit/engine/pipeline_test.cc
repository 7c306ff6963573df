#include "engine/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "tests/support/fake_devices.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using test::Call;
using test::DiskBytes;
using test::MemoryDevice;
using test::Operation;

constexpr std::uint64_t kSize = 4 * kMiB;

struct Copying {
    std::shared_ptr<DiskBytes> from = std::make_shared<DiskBytes>(kSize);
    std::shared_ptr<DiskBytes> to = std::make_shared<DiskBytes>(kSize);
    MemoryDevice source{from};
    std::unique_ptr<MemoryDevice> target_device = std::make_unique<MemoryDevice>(to);
    MemoryDevice& target_fake = *target_device;
    block::Target target{std::move(target_device), {}};
    Progress progress;
    PipelineOptions options{.lanes = {.workers = 2, .depth = 3, .chunk_bytes = 256 * kKiB}};
    ExtentSet data{{0, kSize}};
    BadSectors bad;

    Copying() {
        test::fill_pattern(from->content, 1);
        test::fill_pattern(to->content, 2);
    }
    Moved copy() {
        progress.begin("copy", data.total_bytes());
        return copy_data(source, target, data, options, progress, {}, bad);
    }
    void verify(const Moved& moved) { verify_data(target, data, moved.chunks, options, progress, {}); }
};

template <typename Work>
Code code_of(Work&& work) {
    try {
        work();
    } catch (const Error& e) {
        return e.code();
    }
    return Code{0};
}

TEST(Pipeline, CopiesWhatItIsGivenAndNothingElse) {
    Copying c;
    c.data = ExtentSet{{4096, 12288}, {kMiB - 512, kMiB + 512}, {3 * kMiB, kSize}};
    const Bytes before = c.to->content;
    const Moved moved = c.copy();
    EXPECT_EQ(moved.bytes_read, c.data.total_bytes());
    for (std::size_t i = 0; i < kSize; ++i)
        ASSERT_EQ(c.to->content[i], c.data.contains(Extent{i, i + 1}) ? c.from->content[i] : before[i]) << i;
    EXPECT_NO_THROW(c.verify(moved));
    EXPECT_EQ(c.progress.look().done_bytes, c.data.total_bytes());
}

TEST(Pipeline, ZerosOfTheSourceReplaceOldBytesWithoutBeingWritten) {
    Copying c;
    std::fill_n(c.from->content.begin() + kMiB, kMiB, std::byte{0});
    const Moved moved = c.copy();
    EXPECT_EQ(c.to->content, c.from->content) << "old bytes shine through";
    EXPECT_EQ(c.target.bytes_zeroed(), kMiB);
    EXPECT_EQ(c.target.bytes_written(), kSize - kMiB);
    EXPECT_NO_THROW(c.verify(moved));
}

// What a second copy to the same target costs: what changed, and no more.
TEST(Pipeline, OfDifferencesOnlyThePagesThatDifferAreWritten) {
    Copying c;
    c.options.differences_only = c.options.sample_equal = true;
    c.to->content = c.from->content;
    const std::vector<ByteOffset> places{5000, kMiB - 1, kMiB, 3 * kMiB + 70000};
    for (const ByteOffset at : places)
        c.to->content[at] ^= std::byte{1};
    const Moved moved = c.copy();
    EXPECT_EQ(c.to->content, c.from->content);
    EXPECT_EQ(c.target.bytes_written(), 4 * 4096u);
    EXPECT_EQ(moved.bytes_equal, kSize - 4 * 4096);
    EXPECT_EQ(c.progress.look().done_bytes, kSize);
    const std::size_t before = c.target_fake.calls().size();
    EXPECT_NO_THROW(c.verify(moved));
    std::uint64_t read_again = 0;
    for (const auto calls = c.target_fake.calls(); const Call& call : std::span(calls).subspan(before))
        read_again += call.extent.size();
    EXPECT_EQ(read_again, 4 * 256 * kKiB)
        << "chunks with writes (the first is a sample as well) are read back";
    c.to->content[places[3]] ^= std::byte{1};
    EXPECT_EQ(code_of([&] { c.verify(moved); }), Code::kIntegrity);
}

// Broken address lines: a write shows up elsewhere, in what was found equal before.
TEST(Pipeline, OfDifferencesAWriteThatLandsElsewhereIsFoundWhenAllIsReadBack) {
    Copying c;
    c.options.differences_only = true;
    c.to->content = c.from->content;
    c.to->content[3 * kMiB] ^= std::byte{1};
    const Moved moved = c.copy();
    c.to->content[kMiB + 5] ^= std::byte{1};
    EXPECT_EQ(code_of([&] { c.verify(moved); }), Code::kIntegrity);
}

TEST(Pipeline, OfDifferencesOnlyTheTargetIsReadFromTheMedium) {
    Copying c;
    c.options.differences_only = true;
    c.copy();
    for (const auto calls = c.target_fake.calls(); const Call& call : calls)
        EXPECT_NE(call.operation, Operation::kRead);
    EXPECT_EQ(c.to->content, c.from->content);
}

// An interrupted copy ends somewhere: behind that, reading the target is time lost.
TEST(Pipeline, BehindTheEndOfWhatIsEqualTheTargetIsHardlyReadAnyMore) {
    Copying c;
    c.options.differences_only = true;
    c.options.lanes = {.workers = 1, .depth = 1, .chunk_bytes = 16 * kKiB};
    std::copy_n(c.from->content.begin(), kMiB, c.to->content.begin());
    const Moved moved = c.copy();
    EXPECT_EQ(c.to->content, c.from->content);
    EXPECT_EQ(moved.bytes_equal, kMiB);
    std::uint64_t read = 0;
    for (const auto calls = c.target_fake.calls(); const Call& call : calls)
        if (call.operation == Operation::kReadFromMedium) read += call.extent.size();
    EXPECT_LE(read, kMiB + 512 * kKiB) << "3 MiB of other content were read";
    EXPECT_NO_THROW(c.verify(moved));
}

TEST(Pipeline, ExtentsThatLieCloseAreReadTogetherButNeverWrittenTogether) {
    Copying c;
    c.data = ExtentSet{{0, 4096}, {8192, 12288}, {16384, 20480}, {200 * kKiB, 204 * kKiB}};
    const Bytes before = c.to->content;
    const Moved moved = c.copy();
    EXPECT_EQ(c.source.calls().size(), 2u);
    EXPECT_EQ(c.target.bytes_written(), 4 * 4096u);
    EXPECT_TRUE(std::equal(before.begin() + 4096, before.begin() + 8192, c.to->content.begin() + 4096));
    EXPECT_NO_THROW(c.verify(moved));
}

TEST(Pipeline, AReadErrorOfTheSourceIsTheSourcesFault) {
    Copying c;
    c.source.set_interceptor([](std::size_t number, const Call&) {
        if (number >= 3) throw_error(Code::kSourceIo, "medium error");
    });
    EXPECT_EQ(code_of([&] { c.copy(); }), Code::kSourceIo);
}

// A disk that dies: what can be read is saved, and what cannot is known to the sector.
TEST(Pipeline, BadSectorsAreFoundToTheSectorAndTheRestIsCopied) {
    for (const bool tolerated : {false, true}) {
        Copying c;
        c.options.tolerate_bad_sectors = tolerated;
        const ExtentSet broken{
            {kMiB + 512, kMiB + 1024}, {kMiB + 4096, kMiB + 4096 + 1024}, {kSize - 512, kSize}};
        c.source.set_interceptor([&](std::size_t, const Call& call) {
            if (broken.touches(call.extent)) throw_error(Code::kSourceIo, "medium error");
        });
        if (!tolerated) {
            EXPECT_EQ(code_of([&] { c.copy(); }), Code::kSourceIo);
            EXPECT_FALSE(c.bad.extents().empty());
            continue;
        }
        const Moved moved = c.copy();
        EXPECT_EQ(c.bad.extents(), broken);
        for (Extent e : broken)
            std::fill(c.from->content.begin() + e.begin, c.from->content.begin() + e.end, std::byte{0});
        EXPECT_EQ(c.to->content, c.from->content);
        EXPECT_NO_THROW(c.verify(moved));
    }
}

TEST(Pipeline, ASectorThatFailsOnceIsReadAgain) {
    Copying c;
    std::atomic<int> failures{0};
    c.source.set_interceptor([&](std::size_t, const Call& call) {
        if (call.extent.contains(kMiB) && failures++ == 0) throw_error(Code::kSourceIo, "loose cable");
    });
    c.copy();
    EXPECT_TRUE(c.bad.extents().empty());
    EXPECT_EQ(c.to->content, c.from->content);
}

TEST(Pipeline, ARateIsKept) {
    Copying c;
    c.options.lanes.bytes_per_second = 20 * kMiB;
    const auto start = std::chrono::steady_clock::now();
    c.copy();
    // 4 MiB, of which the first chunk passes at once: 190 ms.
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(180));
}

TEST(Pipeline, EveryWriteThatFailsIsTheTargetsFaultAndEndsTheCopy) {
    for (std::size_t failing = 0; failing < 16; ++failing) {
        Copying c;
        std::size_t writes = 0;
        c.options.lanes.workers = 1;
        c.target_fake.set_interceptor([&](std::size_t, const Call& call) {
            if (call.operation == Operation::kWrite && writes++ == failing)
                throw_error(Code::kTargetIo, "no space");
        });
        EXPECT_EQ(code_of([&] { c.copy(); }), Code::kTargetIo) << failing;
        EXPECT_EQ(writes, failing + 1) << "went on after the error";
    }
}

TEST(Pipeline, AWriteThatIsLostIsFoundWhenReadBack) {
    for (const std::size_t place : {std::size_t{0}, std::size_t{kMiB + 7}, std::size_t{kSize - 1}}) {
        Copying c;
        const Moved moved = c.copy();
        c.to->content[place] ^= std::byte{1};
        EXPECT_EQ(code_of([&] { c.verify(moved); }), Code::kIntegrity) << place;
    }
}

TEST(Pipeline, ReadsBackFromTheMediumNotFromMemory) {
    Copying c;
    const Moved moved = c.copy();
    const std::size_t before = c.target_fake.calls().size();
    c.verify(moved);
    const auto calls = c.target_fake.calls();
    for (std::size_t i = before; i < calls.size(); ++i)
        EXPECT_EQ(calls[i].operation, Operation::kReadFromMedium);
    EXPECT_GT(calls.size(), before);
}

TEST(Pipeline, ARangeThatWasZeroedButIsNotIsFound) {
    Copying c;
    const ExtentSet zero{{kMiB, 3 * kMiB}};
    zero_ranges(c.target, zero, c.options, c.progress, {});
    EXPECT_NO_THROW(verify_zero(c.target, zero, c.options, c.progress, {}));
    c.to->content[2 * kMiB] = std::byte{1};
    EXPECT_EQ(code_of([&] { verify_zero(c.target, zero, c.options, c.progress, {}); }), Code::kIntegrity);
}

// A disk of terabytes with little on it must not be read from end to end.
TEST(Pipeline, OfLargeZeroedRangesSamplesAreReadBack) {
    constexpr std::uint64_t kLarge = 64 * kMiB;
    MemoryDevice device(kLarge);
    Progress progress;
    PipelineOptions options;
    options.sample_zeros = true;
    const ExtentSet zero{{kMiB, 20 * kMiB}, {24 * kMiB, kLarge}};
    const std::uint64_t verified = verify_zero(device, zero, options, progress, {});
    EXPECT_EQ(progress.look().done_bytes, zero.total_bytes());
    EXPECT_LE(verified, 65 * 64 * kKiB);
    EXPECT_GE(verified, 60 * 64 * kKiB);
    for (const ByteOffset at : {kMiB, kLarge - 1}) {
        device.bytes()->content[at] = std::byte{1};
        EXPECT_EQ(code_of([&] { verify_zero(device, zero, options, progress, {}); }), Code::kIntegrity) << at;
        device.bytes()->content[at] = std::byte{0};
    }
    options.sample_zeros = false;
    EXPECT_EQ(verify_zero(device, zero, options, progress, {}), zero.total_bytes());
}

TEST(Pipeline, TheNumberOfDigestsStaysBoundedForLargeDisks) {
    const block::Geometry disk{.is_block_device = true};
    for (const std::uint64_t bytes : {kGiB, 1024 * kGiB, 6 * 1024 * kGiB}) {
        const PipelineOptions options = choose_pipeline(disk, disk, bytes);
        EXPECT_LE(bytes / options.lanes.chunk_bytes * sizeof(codec::Xxh128), 32 * kMiB) << bytes;
        EXPECT_LE(options.lanes.workers * options.lanes.depth * options.lanes.chunk_bytes, 16 * kMiB)
            << bytes;
    }
}

TEST(ChoosePipeline, ChunksAreSmallWhereBothEndsAreMemoryAndNowhereElse) {
    const block::Geometry disk, memory{.in_memory = true};
    const auto chunk_bytes = [](const block::Geometry& source, const block::Geometry& target) {
        return choose_pipeline(source, target, kGiB).lanes.chunk_bytes;
    };
    EXPECT_LT(chunk_bytes(memory, memory), kMiB);
    EXPECT_EQ(chunk_bytes(memory, disk), kMiB);
    EXPECT_EQ(chunk_bytes(disk, memory), kMiB);
    EXPECT_EQ(choose_pipeline(memory, memory, kGiB, {.chunk_bytes = 4 * kMiB}).lanes.chunk_bytes, 4 * kMiB);
}

TEST(ChoosePipeline, ChunksThatAreTooManyAreRefusedWithASizeThatWorks) {
    const block::Geometry disk;
    const std::uint64_t bytes = std::uint64_t{16'000'000} * kMiB;
    try {
        choose_pipeline(disk, disk, bytes, {.chunk_bytes = 64 * kKiB});
        FAIL() << "gigabytes of digests";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUsage);
        EXPECT_THAT(e.what(), ::testing::HasSubstr("--chunk-size=4096K"));
    }
    EXPECT_EQ(choose_pipeline(disk, disk, bytes, {.chunk_bytes = 4 * kMiB}).lanes.chunk_bytes, 4 * kMiB);
    // Nothing larger could be asked for.
    EXPECT_NO_THROW(choose_pipeline(disk, disk, bytes * 16, {.chunk_bytes = 8 * kMiB}));
}

}  // namespace
}  // namespace dupengine::engine
