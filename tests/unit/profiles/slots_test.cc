#include "profiles/slots.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/random.h"
#include "tests/support/fake_devices.h"

namespace dupengine::profiles {
namespace {

using test::Call;
using test::DiskBytes;
using test::MemoryDevice;
using test::Operation;
using ::testing::HasSubstr;

constexpr block::Extent kRegion{kMiB, 4 * kMiB};
constexpr std::uint64_t kDiskBytes = 5 * kMiB;

StoredProfile content(std::uint64_t generation, const std::string& text) {
    return {generation, text, {std::string(32, 's')}};
}

// The store of one disk, of which everything else is full of somebody's data.
class SlotsTest : public ::testing::Test {
  protected:
    SlotsTest() {
        test::fill_pattern(disk_->content, 1);
        std::fill_n(disk_->content.begin() + static_cast<std::ptrdiff_t>(kRegion.begin), kRegion.size(),
                    std::byte{0});
    }
    block::Target target(test::Interceptor interceptor = {}) {
        auto device = std::make_unique<MemoryDevice>(disk_);
        device->set_interceptor(std::move(interceptor));
        return {std::move(device), block::ProtectedRegions::all_except(kRegion, kDiskBytes, "the profile")};
    }
    void write(const StoredProfile& next) {
        auto t = target();
        write_slot(t, kRegion, next);
    }
    Slots read() { return read_slots(MemoryDevice(disk_), kRegion); }
    std::byte& at(unsigned slot, std::size_t offset) {
        return disk_->content[kRegion.begin + slot * kSlotBytes + offset];
    }

    std::shared_ptr<DiskBytes> disk_ = std::make_shared<DiskBytes>(kDiskBytes);
};

template <typename Work>
std::string message_of(Code code, Work work) {
    try {
        work();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        return e.what();
    }
    return "accepted";
}

TEST_F(SlotsTest, GivesBackExactlyWhatWasStored) {
    const std::string text = std::string("schema = 1\r\n\0 bytes as they are", 29);
    write(content(7, text));
    const Slots slots = read();
    ASSERT_TRUE(slots.newest);
    EXPECT_EQ(slots.newest->text, text);
    EXPECT_EQ(slots.newest->secret.bytes, std::string(32, 's'));
    EXPECT_EQ(slots.newest->generation, 7u);
    EXPECT_EQ(slots.slots[1].state, SlotState::kBlank);
}

TEST_F(SlotsTest, AnUpdateNeverTouchesTheNewestGoodSlot) {
    write(content(1, "one"));
    for (std::uint64_t generation = 2; generation < 8; ++generation) {
        const unsigned newest = read().newest_slot;
        const Bytes before = disk_->content;
        write(content(generation, "text " + std::to_string(generation)));
        const auto begin = static_cast<std::ptrdiff_t>(kRegion.begin + newest * kSlotBytes);
        EXPECT_TRUE(std::equal(before.begin() + begin, before.begin() + begin + kSlotBytes,
                               disk_->content.begin() + begin));
        EXPECT_EQ(read().newest->generation, generation);
        EXPECT_NE(read().newest_slot, newest);
    }
}

TEST_F(SlotsTest, WritesNothingOutsideItsTwoSlots) {
    const Bytes before = disk_->content;
    write(content(1, std::string(kProfileTextLimit, 'x')));
    write(content(2, std::string(kProfileTextLimit, 'y')));
    const auto begin = static_cast<std::ptrdiff_t>(kRegion.begin);
    const auto end = begin + static_cast<std::ptrdiff_t>(2 * kSlotBytes);
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + begin, disk_->content.begin()));
    EXPECT_TRUE(std::equal(before.begin() + end, before.end(), disk_->content.begin() + end));
}

TEST_F(SlotsTest, LeavesNothingOfAnOlderLongerProfile) {
    write(content(1, std::string(100'000, 'x')));
    write(content(2, "short"));
    write(content(3, "short too"));
    EXPECT_EQ(std::count(disk_->content.begin() + kRegion.begin,
                         disk_->content.begin() + kRegion.begin + kSlotBytes, std::byte{'x'}),
              0);
}

TEST_F(SlotsTest, ACutAtAnyOperationLeavesTheOldProfileOrTheNewOne) {
    write(content(1, "first"));
    write(content(2, "the old one"));
    const Bytes before = disk_->content;
    for (std::size_t cut = 0;; ++cut) {
        disk_->content = before;
        bool was_cut = false, written = false;
        try {
            auto t = target([&](std::size_t number, const Call& call) {
                was_cut = number >= cut;  // and the power stays away
                if (was_cut) throw_error(Code::kTargetIo, "power cut");
                written = written || call.operation == Operation::kWrite;
            });
            write_slot(t, kRegion, content(3, "the new one"));
        } catch (const Error&) {
        }
        const Slots after = read();
        ASSERT_TRUE(after.newest) << "cut before operation " << cut;
        EXPECT_EQ(after.newest->text, written ? "the new one" : "the old one")
            << "cut before operation " << cut;
        if (!was_cut) {
            EXPECT_GE(cut, 5u) << "two reads, a write, a flush and a read back were expected";
            return;
        }
    }
}

TEST_F(SlotsTest, ATornWriteLeavesTheOldProfileOrTheNewOne) {
    constexpr std::uint64_t kSeed = 4711;
    SeededRandom random(kSeed);
    write(content(1, std::string(3000, 'a')));
    write(content(2, std::string(2500, 'b')));
    const Bytes before = disk_->content;
    write(content(3, std::string(2800, 'c')));
    const Bytes complete = disk_->content;
    std::vector<std::size_t> changed;
    for (std::size_t sector = 0; sector < kDiskBytes; sector += 512)
        if (!std::equal(before.begin() + sector, before.begin() + sector + 512, complete.begin() + sector))
            changed.push_back(sector);
    unsigned old_ones = 0, new_ones = 0;
    for (unsigned round = 0; round < 400; ++round) {
        // Each sector that changes is on the medium or not; now and then one was cut within.
        const std::uint64_t chance = 1 + random.below(12);
        for (std::size_t sector : changed) {
            std::size_t kept = random.below(12) < chance ? 512 : 0;
            if (random.below(40) == 0) kept = random.below(512);
            const auto cut = std::copy_n(complete.begin() + sector, kept, disk_->content.begin() + sector);
            std::copy(before.begin() + sector + kept, before.begin() + sector + 512, cut);
        }
        const Slots after = read();
        ASSERT_TRUE(after.newest) << "seed " << kSeed << " round " << round;
        const StoredProfile& p = *after.newest;
        if (p.generation == 3) {
            EXPECT_EQ(p.text, std::string(2800, 'c'));
            ++new_ones;
        } else {
            EXPECT_EQ(p.generation, 2u);
            EXPECT_EQ(p.text, std::string(2500, 'b'));
            ++old_ones;
        }
    }
    EXPECT_GT(old_ones, 100u);
    EXPECT_GT(new_ones, 10u) << "the seed must show both";
}

TEST_F(SlotsTest, BelievesNoSlotOfWhichAByteWasChanged) {
    write(content(1, "the text of the profile"));
    for (std::size_t offset = 0; offset < 4096 + 32 + 23; ++offset) {
        if (offset == 80) offset = 4096;  // between them nothing is said
        at(0, offset) ^= std::byte{0x40};
        const Slots slots = read();
        EXPECT_FALSE(slots.newest) << "byte " << offset;
        EXPECT_EQ(slots.slots[0].state, SlotState::kDamaged) << "byte " << offset;
        at(0, offset) ^= std::byte{0x40};
    }
    EXPECT_TRUE(read().newest);
}

TEST_F(SlotsTest, FallsBackToTheOlderSlotAndTellsWhy) {
    write(content(1, "old"));
    write(content(2, "new"));
    at(1, 4096 + 32) ^= std::byte{1};
    const Slots slots = read();
    EXPECT_EQ(slots.newest->text, "old");
    EXPECT_EQ(slots.reasons(), "slot 0: good; slot 1: bad checksum of its content");
    write(content(2, "again"));
    EXPECT_EQ(read().newest->text, "again");
    EXPECT_EQ(read().newest_slot, 1u) << "the damaged slot was the one to write";
}

TEST_F(SlotsTest, ReadsTheOtherSlotWhenTheMediumFails) {
    write(content(1, "old"));
    write(content(2, "new"));
    MemoryDevice device(disk_);
    device.set_interceptor([](std::size_t, const Call& call) {
        if (call.extent.begin == kRegion.begin + kSlotBytes)
            throw_error(Code::kSourceIo, "unreadable sector");
    });
    const Slots slots = read_slots(device, kRegion);
    EXPECT_EQ(slots.newest->text, "old");
    EXPECT_THAT(slots.slots[1].reason, HasSubstr("unreadable sector"));
}

TEST_F(SlotsTest, GuessesNothingAboutSlotsThatCannotBeRead) {
    write(content(1, "old"));
    write(content(2, "new"));
    const Bytes before = disk_->content;
    auto t = target([](std::size_t, const Call& call) {
        if (call.operation == Operation::kReadFromMedium) throw_error(Code::kTargetIo, "unreadable sector");
    });
    EXPECT_THAT(message_of(Code::kTargetIo, [&] { write_slot(t, kRegion, content(3, "x")); }),
                HasSubstr("nothing is written"));
    EXPECT_EQ(disk_->content, before);
}

TEST_F(SlotsTest, SaysWhatCanBeDoneWhenNoSlotIsLeft) {
    EXPECT_THAT(message_of(Code::kIntegrity, [&] { newest_or_throw(read(), "partition:/dev/x"); }),
                HasSubstr("never been written; run: dupengine profile init --store partition:/dev/x"));
    write(content(1, "a"));
    write(content(2, "b"));
    at(0, 20) ^= std::byte{1};
    at(1, 0) ^= std::byte{1};
    EXPECT_THAT(message_of(Code::kIntegrity, [&] { newest_or_throw(read(), "partition:/dev/x"); }),
                ::testing::AllOf(HasSubstr("slot 0: bad header checksum; slot 1: no header"),
                                 HasSubstr("--replace-damaged"), HasSubstr("new node secret")));
}

TEST_F(SlotsTest, RefusesAGenerationThatDoesNotGrow) {
    write(content(5, "five"));
    for (std::uint64_t generation : {0u, 4u, 5u})
        EXPECT_THAT(message_of(Code::kRefused, [&] { write(content(generation, "x")); }),
                    HasSubstr("is not larger than 5"));
    EXPECT_EQ(read().newest->text, "five");
}

TEST_F(SlotsTest, LeavesAStoreOfANewerVersionAlone) {
    Bytes slot = encode_slot(content(1, "from the future"));
    store_le<std::uint32_t>(slot, 16, 2);
    store_le<std::uint32_t>(slot, 76, crc32(std::span(slot).first(76)));
    std::copy(slot.begin(), slot.end(), disk_->content.begin() + kRegion.begin);
    const Bytes before = disk_->content;
    EXPECT_EQ(read().slots[0].state, SlotState::kForeign);
    EXPECT_THAT(message_of(Code::kRefused, [&] { write(content(9, "x")); }), HasSubstr("format version 2"));
    EXPECT_THAT(message_of(Code::kRefused, [&] { check_replaceable(read(), "s", true); }),
                HasSubstr("use that version"));
    EXPECT_EQ(disk_->content, before);
}

TEST_F(SlotsTest, ReplacesOnlyWhatNobodyCanReadAnyMore) {
    check_replaceable(read(), "s", false);  // blank
    write(content(1, "a"));
    EXPECT_THAT(message_of(Code::kRefused, [&] { check_replaceable(read(), "s", true); }),
                HasSubstr("profile set"));
    at(0, 0) ^= std::byte{1};
    EXPECT_THAT(message_of(Code::kRefused, [&] { check_replaceable(read(), "s", false); }),
                HasSubstr("--replace-damaged"));
    check_replaceable(read(), "s", true);
    write(content(1, "new life"));
    EXPECT_EQ(read().newest->text, "new life");
}

TEST_F(SlotsTest, NoticesAMediumThatDoesNotKeepWhatItWasGiven) {
    write(content(1, "old"));
    auto t = target([&](std::size_t, const Call& call) {
        if (call.operation == Operation::kFlush) at(1, 4096) ^= std::byte{1};
    });
    EXPECT_THAT(message_of(Code::kIntegrity, [&] { write_slot(t, kRegion, content(2, "new")); }),
                HasSubstr("came back different from slot 1; the old one still stands"));
    EXPECT_EQ(read().newest->text, "old");
}

TEST_F(SlotsTest, RefusesWhatDoesNotFit) {
    EXPECT_THAT(
        message_of(Code::kRefused, [&] { write(content(1, std::string(kProfileTextLimit + 1, 'x'))); }),
        HasSubstr("at most 524288"));
    EXPECT_THAT(message_of(Code::kRefused,
                           [&] {
                               read_slots(MemoryDevice(disk_), {0, 2 * kMiB - 512});
                           }),
                HasSubstr("too small for a profile store"));
}

TEST_F(SlotsTest, NeverPutsTheSecretIntoAMessage) {
    write(content(1, "a"));
    at(0, 4096 + 32) ^= std::byte{1};
    EXPECT_THAT(message_of(Code::kIntegrity, [&] { newest_or_throw(read(), "s"); }),
                ::testing::Not(HasSubstr("ssss")));
}

}  // namespace
}  // namespace dupengine::profiles
