#include "machine/memory_passes.h"

#include <gtest/gtest.h>
#include <linux/kernel-page-flags.h>

#include "base/copy_bytes.h"
#include "machine/received_memory.h"
#include "tests/support/fake_memory.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;
using test::FakeMemory;

codec::PageTagger::Key some_key() {
    codec::PageTagger::Key key{};
    key.fill(std::byte{7});
    return key;
}

// Both ends of a duplication, without what lies between.
struct Ends {
    explicit Ends(std::uint64_t seed, std::uint64_t most_kept = 64)
        : random(seed),
          physical((memory.fill(random), memory.proc())),
          passes(physical, some_key(), most_kept),
          received(passes.shape()) {}

    std::uint64_t pass() {
        passes.begin_pass();
        for (auto group = passes.next(room); !group.empty(); group = passes.next(room))
            received.apply(group);
        return passes.report().pages_sent;
    }
    void take_image(const std::vector<Bytes>& image, const PageNumbers& dead = {}) {
        std::size_t next = 0;
        const auto next_page = [&](std::span<std::byte> page) {
            if (next == image.size()) return false;
            copy_bytes(image[next++], page);
            return true;
        };
        passes.take_image(next_page, dead);
    }
    void send_image() {
        for (auto group = passes.next_of_image(room); !group.empty(); group = passes.next_of_image(room))
            received.apply(group);
    }
    std::vector<Bytes> rebuilt() {
        std::vector<Bytes> pages;
        for (Bytes page(kPageBytes); received.next_page(page);)
            pages.push_back(page);
        return pages;
    }

    FakeMemory memory;
    SeededRandom random;
    PhysicalMemory physical;
    MemoryPasses passes;
    ReceivedMemory received;
    Bytes room = Bytes(kMiB);
};

TEST(PhysicalMemoryIs, WhatTheKernelMapsAndNotItsAliases) {
    const FakeMemory memory;
    const PhysicalMemory physical(memory.proc());
    EXPECT_EQ(physical.ranges(), (std::vector<PageRange>{{FakeMemory::kFirst, FakeMemory::kHole},
                                                         {FakeMemory::kSecond, FakeMemory::kEnd}}));
    EXPECT_EQ(physical.span_pages(), FakeMemory::kEnd);
}

TEST(PhysicalMemoryIs, NotInUseWhereItIsFreeOrOnADisk) {
    FakeMemory memory;
    const auto bit = [](unsigned n) { return std::uint64_t{1} << n; };
    memory.set_flags(10, bit(KPF_BUDDY));
    memory.set_flags(20, bit(KPF_LRU) | bit(KPF_UPTODATE));                    // a file's, clean
    memory.set_flags(30, bit(KPF_LRU) | bit(KPF_UPTODATE) | bit(KPF_DIRTY));   // not written yet
    memory.set_flags(31, bit(KPF_LRU) | bit(KPF_ANON) | bit(KPF_SWAPBACKED));  // a program's
    memory.set_flags(32, bit(KPF_LRU) | bit(KPF_SWAPBACKED));                  // of a memory filesystem
    memory.set_flags(33, bit(KPF_SLAB));
    memory.set_flags(34, bit(32) | bit(35));  // of the table of pages
    memory.set_flags(35, 0);                  // a stack of the kernel's
    memory.set_flags(36, bit(32));            // its text
    const PhysicalMemory physical(memory.proc());
    EXPECT_EQ(physical.in_use({1, 40}),
              (std::vector<PagesInUse>{{{1, 10}}, {{11, 20}}, {{21, 33}}, {{33, 36}, true}, {{36, 40}}}));
}

TEST(Memory, IsRebuiltByteForByteAfterPassesAndAnImage) {
    Ends ends(1);
    EXPECT_GT(ends.pass(), 1000u);
    for (std::uint64_t page = 100; page < 160; ++page)
        ends.memory.scribble(page, 1);
    EXPECT_EQ(ends.pass(), 60u);
    for (std::uint64_t page = 120; page < 180; ++page)
        ends.memory.scribble(page, 2);
    const auto image = ends.memory.image();
    ends.take_image(image);
    ends.send_image();
    EXPECT_EQ(ends.passes.image().pages, image.size());
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(Memory, OfTheImageOnlyWhatChangedIsSent) {
    Ends ends(2);
    ends.pass();
    for (std::uint64_t page = 100; page < 140; ++page)
        ends.memory.scribble(page, 1);
    ends.pass();
    for (std::uint64_t page = 100; page < 140; ++page)
        ends.memory.scribble(page, 2);
    const auto image = ends.memory.image();
    ends.take_image(image);
    ends.send_image();
    const ImageReport& report = ends.passes.image();
    // Eight lines of each page that is kept, their map, and the image's own few pages.
    EXPECT_LT(report.bytes_sent, 40 * (8 * 64 + 80) + 6 * (kPageBytes + 80));
    EXPECT_EQ(report.pages_known, image.size() - 40 - 5);
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(Memory, OfTablesOfRecordsOnlyWhatChangedIsSentTheFirstTime) {
    Ends ends(2);
    for (std::uint64_t page = 100; page < 116; ++page)
        ends.memory.set_flags(page, std::uint64_t{1} << KPF_SLAB);
    ends.pass();
    for (std::uint64_t page = 100; page < 116; ++page)
        ends.memory.scribble(page, 1);
    const auto image = ends.memory.image();
    ends.take_image(image);
    ends.send_image();
    EXPECT_LT(ends.passes.image().bytes_sent, 16 * (8 * 64 + 80) + 6 * (kPageBytes + 80));
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(Memory, OfProgramsThatEndThereIsNotSentAgain) {
    Ends ends(2);
    ends.pass();
    const auto before = ends.memory.image();
    for (std::uint64_t page = 100; page < 140; ++page)
        ends.memory.scribble(page, 1);
    const auto image = ends.memory.image();
    ends.take_image(image, {100, 101, 139, 140});
    ends.send_image();
    EXPECT_EQ(ends.passes.image().pages_dead, 4u);
    ends.received.check();
    const auto rebuilt = ends.rebuilt();
    ASSERT_EQ(rebuilt.size(), image.size());
    std::size_t as_before = 0;
    for (std::size_t i = 0; i < image.size(); ++i) {
        EXPECT_TRUE(rebuilt[i] == image[i] || rebuilt[i] == before[i]) << i;
        as_before += rebuilt[i] != image[i] ? 1 : 0;
    }
    EXPECT_EQ(as_before, 3u);
}

TEST(Memory, ThatWasOfNoUseOnceIsNotTakenForKnownLater) {
    Ends ends(2);
    ends.pass();
    ends.memory.scribble(101, 1);
    const auto image = ends.memory.image();
    ends.take_image(image, {101});
    ends.send_image();
    ends.take_image(image);
    ends.send_image();
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(Memory, PagesForWhichThereIsNoRoomToBeKeptAreSentWhole) {
    Ends ends(3, 4);
    ends.pass();
    for (unsigned round = 1; round < 4; ++round) {
        for (std::uint64_t page = 100; page < 140; ++page)
            ends.memory.scribble(page, round);
        ends.pass();
    }
    const auto image = ends.memory.image();
    ends.take_image(image);
    ends.send_image();
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(Memory, ZerosThatANewerKernelLeavesOutAreLeftOut) {
    Ends ends(4);
    ends.pass();
    const auto image = ends.memory.image(true);
    ASSERT_LT(image.size(), ends.memory.image().size());
    ends.take_image(image);
    ends.send_image();
    EXPECT_FALSE(ends.passes.image().is_whole);
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(Memory, AnImageOfAnUnknownLayoutGoesAsItIs) {
    Ends ends(5);
    ends.pass();
    auto image = ends.memory.image();
    store_le<std::uint64_t>(image[0], 416, 0xffffffff);
    ends.take_image(image);
    ends.send_image();
    EXPECT_TRUE(ends.passes.image().is_whole);
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(Memory, AfterAnImageThatWasOfNoUseAnotherOneIsRight) {
    Ends ends(6);
    ends.pass();
    ends.memory.scribble(202, 1);
    ends.pass();
    for (const std::uint64_t page : {200, 202})
        ends.memory.scribble(page, 3);
    ends.take_image(ends.memory.image());
    ends.send_image();
    ends.memory.scribble(200, 2);
    ends.memory.scribble(201, 2);
    ends.memory.scribble(202, 1);  // as it was before
    EXPECT_EQ(ends.pass(), 3u);
    ends.memory.set_flags(300, std::uint64_t{1} << KPF_BUDDY);
    const auto image = ends.memory.image();
    ends.take_image(image);
    ends.send_image();
    ends.received.check();
    EXPECT_EQ(ends.rebuilt(), image);
}

TEST(ReceivedMemoryIs, RefusedIfAnythingOfItIsMissing) {
    Ends ends(7);
    ends.pass();
    ends.memory.scribble(500, 1);
    ends.take_image(ends.memory.image());
    EXPECT_THROW(ends.received.check(), Error);  // its end did not come
    std::vector<Bytes> groups;
    for (auto group = ends.passes.next_of_image(ends.room); !group.empty();
         group = ends.passes.next_of_image(ends.room))
        groups.emplace_back(group.begin(), group.end());
    for (const Bytes& group : groups)
        ends.received.apply(group);
    ends.received.check();
    // A group of one page, which changes one word of page 123.
    Bytes before(kPageBytes), after(kPageBytes), room(kMiB);
    after[8] = std::byte{1};
    codec::GroupWriter writer(room);
    writer.add(123, before, after);
    ends.received.apply(writer.finish());
    try {
        ends.received.check();
        FAIL() << "a page is wrong";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kIntegrity);
    }
}

TEST(ReceivedMemoryIs, RefusedIfItCannotBe) {
    MemoryShape shape{0, 0, some_key()};
    EXPECT_THROW(ReceivedMemory{shape}, Error);
    shape = {std::uint64_t{1} << 50, 1, some_key()};
    EXPECT_THROW(ReceivedMemory{shape}, Error);
    shape = {10, 11, some_key()};
    EXPECT_THROW(ReceivedMemory{shape}, Error);
}

}  // namespace
}  // namespace dupengine::machine
