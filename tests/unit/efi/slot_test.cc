// Firmware believes the profile that everything else believes: the newest good one of two slots.

#include "efi/core/slot.h"

#include <gmock/gmock.h>

#include "block/guard.h"
#include "profiles/slots.h"
#include "tests/support/efi_disk.h"
#include "tests/support/fake_devices.h"
#include "tests/unit/efi/fake_firmware.h"

namespace dupengine {
namespace {

using test::string_of;

constexpr block::Extent kRegion{kMiB, 5 * kMiB};

class EfiSlot : public ::testing::Test {
  protected:
    void write(std::uint64_t generation, const std::string& text) {
        block::Target target(std::make_unique<test::MemoryDevice>(disk_), {});
        profiles::write_slot(target, kRegion, {generation, text, {std::string(32, 's')}});
    }
    std::byte& at(unsigned slot, std::size_t offset) {
        return disk_->content[kRegion.begin + slot * profiles::kSlotBytes + offset];
    }
    std::string read() {
        test::EfiDisk disk(disk_->content);
        if (unreadable_) disk.make_unreadable(kRegion.begin, kRegion.begin + 512);
        found_ = {};
        const efi::TextView reason =
            efi::read_newest_slot(disk, {1, kRegion.begin, kRegion.end, {}, {}}, scratch_, found_);
        return {reason.data(), reason.size()};
    }
    std::string text() const { return {found_.text.data(), found_.text.size()}; }

    std::shared_ptr<test::DiskBytes> disk_ = std::make_shared<test::DiskBytes>(6 * kMiB);
    std::vector<std::byte> scratch_ = std::vector<std::byte>(efi::kSlotScratchBytes);
    efi::StoredProfile found_;
    bool unreadable_ = false;
};

TEST_F(EfiSlot, IsTheNewestWhicheverOfTheTwoHoldsIt) {
    for (std::uint64_t generation = 1; generation <= 4; ++generation) {
        write(generation, "text " + std::to_string(generation));
        EXPECT_EQ(read(), "");
        EXPECT_EQ(found_.generation, generation);
        EXPECT_EQ(text(), "text " + std::to_string(generation));
    }
}

TEST_F(EfiSlot, HoldsTheLargestTextThatMayBeStored) {
    const std::string large(profiles::kProfileTextLimit, 'x');
    write(1, large);
    EXPECT_EQ(read(), "");
    EXPECT_EQ(text(), large);
}

TEST_F(EfiSlot, IsTheOlderOneWhereTheNewestWasCut) {
    write(1, "old");
    write(2, "new");
    at(1, 4096 + 33) ^= std::byte{1};
    EXPECT_EQ(read(), "");
    EXPECT_EQ(text(), "old");
}

TEST_F(EfiSlot, IsTheOtherOneWhereASlotCannotBeRead) {
    write(1, "old");
    write(2, "new");
    unreadable_ = true;
    EXPECT_EQ(read(), "");
    EXPECT_EQ(text(), "new");
}

TEST_F(EfiSlot, IsNoneWhereNothingWasWritten) {
    EXPECT_EQ(read(), "the store was never written");
}

TEST_F(EfiSlot, SaysWhyNeitherIsBelieved) {
    write(1, "one");
    at(0, 40) ^= std::byte{1};
    EXPECT_EQ(read(), "the checksum of its header is wrong");
    at(0, 40) ^= std::byte{1};
    at(0, 4096) ^= std::byte{1};
    EXPECT_EQ(read(), "the checksum of its content is wrong");
}

// Any byte of header and payload changed, and cut at any length: never another profile than the one that was
// stored.
TEST_F(EfiSlot, IsBelievedWholeOrNotAtAll) {
    const Bytes good = profiles::encode_slot({9, "node", {std::string(32, 's')}});
    const std::size_t end = 4096 + 32 + 4;
    efi::StoredProfile found;
    for (std::size_t size = 0; size < end; ++size)
        EXPECT_FALSE(efi::decode_slot(efi::Bytes(good).first(size), found).empty()) << size;
    EXPECT_TRUE(efi::decode_slot(efi::Bytes(good).first(end), found).empty());
    for (std::size_t i = 0; i < end; ++i) {
        if (i >= 80 && i < 4096) continue;  // of no meaning
        Bytes changed = good;
        changed[i] ^= std::byte{1};
        EXPECT_FALSE(efi::decode_slot(changed, found).empty()) << i;
    }
}

// The same of a short slot, and everything else on this machine believes just what firmware believes.
TEST_F(EfiSlot, IsBelievedInAVariableWholeOrNotAtAll) {
    const Bytes good = profiles::encode_short_slot({9, "node", {std::string(32, 's')}});
    ASSERT_EQ(good.size(), 80u + 32 + 4);
    const auto is_believed = [](std::span<const std::byte> bytes) {
        efi::StoredProfile found;
        profiles::StoredProfile content;
        const bool believed = efi::decode_short_slot(bytes, found).empty();
        EXPECT_EQ(profiles::decode_short_slot(bytes, content).state == profiles::SlotState::kGood, believed);
        EXPECT_EQ(string_of(found.text), content.text);
        return believed;
    };
    EXPECT_TRUE(is_believed(good));
    for (std::size_t size = 0; size < good.size(); ++size)
        EXPECT_FALSE(is_believed(std::span(good).first(size))) << size;
    for (std::size_t i = 0; i < good.size(); ++i) {
        Bytes changed = good;
        changed[i] ^= std::byte{1};
        EXPECT_FALSE(is_believed(changed)) << i;
    }
    Bytes longer = good;
    longer.resize(longer.size() + 1);
    EXPECT_FALSE(is_believed(longer));
    EXPECT_FALSE(is_believed(profiles::encode_slot({9, "node", {std::string(32, 's')}})));
}

}  // namespace
}  // namespace dupengine
