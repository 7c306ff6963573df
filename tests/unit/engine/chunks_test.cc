#include "engine/chunks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/random.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;

ExtentSet random_set(std::uint64_t seed) {
    SeededRandom random(seed);
    ExtentSet set;
    for (int i = 0; i < 40; ++i) {
        const std::uint64_t begin = random.below(1 << 16);
        set.insert({begin, begin + 1 + random.below(3000)});
    }
    return set;
}

TEST(Chunks, EveryByteIsDealtOnceInOrderAndTheCountIsKnownBefore) {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        const ExtentSet set = random_set(seed);
        ChunkDealer dealer(set, 1024);
        ExtentSet seen;
        std::uint64_t bytes = 0;
        std::size_t count = 0;
        while (const auto chunk = dealer.next()) {
            ASSERT_EQ(chunk->number, count++) << "seed " << seed;
            for (Extent e : chunk->extents) {
                ASSERT_TRUE((Extent{chunk->base, chunk->base + 1024}.contains(e))) << "seed " << seed;
                bytes += e.size();
                seen.insert(e);
            }
        }
        ASSERT_EQ(seen, set) << "seed " << seed;
        ASSERT_EQ(bytes, set.total_bytes()) << "seed " << seed;
        ASSERT_EQ(count, count_chunks(set, 1024)) << "seed " << seed;
    }
}

TEST(Chunks, TheFirstErrorStopsAllWorkersAndIsThrown) {
    const ExtentSet set{{0, 1 << 20}};
    std::atomic<int> done{0};
    const ChunkWork work{.read = [](Slot&) {},
                         .look =
                             [](Slot& slot) {
                                 if (slot.chunk.number == 5)
                                     throw_error(Code::kTargetIo, "chunk {}", slot.chunk.number);
                             },
                         .end = [&](Slot&) { ++done; }};
    try {
        for_each_chunk(set, {.workers = 4, .depth = 2, .chunk_bytes = 1024}, {}, work);
        FAIL() << "the error was lost";
    } catch (const Error& e) {
        EXPECT_STREQ(e.what(), "chunk 5");
    }
    EXPECT_LT(done, 1024);
}

// What is asked for far away comes while others are looked at.
TEST(Chunks, OneThatWaitsATurnIsLookedAtOnceMoreButNotAfterAllOthers) {
    const ExtentSet set{{0, 64 * 1024}};
    std::vector<std::size_t> looked_at;
    std::size_t ended = 0;
    const ChunkWork work{.read = [](Slot& slot) { slot.incomplete = slot.chunk.number % 3 != 0; },
                         .look =
                             [&](Slot& slot) {
                                 looked_at.push_back(slot.chunk.number);
                                 if (slot.incomplete) return;
                                 slot.incomplete = true;  // the next time it is ready
                                 slot.wait_a_turn();
                             },
                         .end = [&](Slot&) { ++ended; }};
    for_each_chunk(set, {.workers = 1, .depth = 4, .chunk_bytes = 1024}, {}, work);
    EXPECT_EQ(ended, 64u);
    EXPECT_EQ(looked_at.size(), 64u + 22u);
    const auto again = std::find(looked_at.begin() + 1, looked_at.end(), 0u);
    EXPECT_GT(again - looked_at.begin(), 6) << "nothing came in between";
    EXPECT_LT(again - looked_at.begin(), 24) << "it waited for all others";
}

TEST(Chunks, ARequestToStopIsAnInterruptionNotASuccess) {
    std::stop_source stop;
    const ExtentSet set{{0, 1 << 20}};
    const ChunkWork work{
        .read = [](Slot&) {}, .look = [&](Slot&) { stop.request_stop(); }, .end = [](Slot&) {}};
    try {
        for_each_chunk(set, {.workers = 2, .chunk_bytes = 1024}, stop.get_token(), work);
        FAIL() << "looked like a success";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kInterrupted);
    }
}

}  // namespace
}  // namespace dupengine::engine
