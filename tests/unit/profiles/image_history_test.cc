#include "profiles/image_history.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/support/fake_devices.h"

namespace dupengine::profiles {
namespace {

using test::DiskBytes;
using test::MemoryDevice;
using ::testing::Optional;

constexpr block::Extent kRegion{kMiB, 5 * kMiB};
constexpr std::uint64_t kDiskBytes = 6 * kMiB;
constexpr std::uint64_t kRecords = kRegion.begin + kStoreMinimumBytes;

class ImageHistoryTest : public ::testing::Test {
  protected:
    ImageHistoryTest() {
        test::fill_pattern(disk_->content, 1);
        std::fill_n(disk_->content.begin() + static_cast<std::ptrdiff_t>(kRegion.begin), kRegion.size(),
                    std::byte{0});
    }
    ImageHistory read() { return read_history(MemoryDevice(disk_), kRegion).value(); }
    void remember(const std::string& name, std::uint64_t version) {
        ImageHistory history = read();
        history.remember(name, version, 1700000000);
        block::Target target(
            std::make_unique<MemoryDevice>(disk_),
            block::ProtectedRegions::all_except(kRegion, kDiskBytes, "the profile partition"));
        write_history(target, kRegion, history);
    }

    std::shared_ptr<DiskBytes> disk_ = std::make_shared<DiskBytes>(kDiskBytes);
};

TEST_F(ImageHistoryTest, TheVersionThatWasPutThereLastIsKnown) {
    EXPECT_EQ(read().version_of("web"), std::nullopt);
    remember("web", 7);
    remember("db", 2);
    remember("web", 8);
    EXPECT_THAT(read().version_of("web"), Optional(8u));
    EXPECT_THAT(read().version_of("db"), Optional(2u));
    EXPECT_EQ(read().entries.size(), 2u);
}

TEST_F(ImageHistoryTest, TheProfileAndWhatLiesBehindAreNotTouched) {
    std::fill_n(disk_->content.begin() + kRegion.begin, kStoreMinimumBytes, std::byte{0x55});
    std::fill_n(disk_->content.begin() + kRegion.begin + kHistoryEnd, kRegion.size() - kHistoryEnd,
                std::byte{0xAA});
    DiskBytes before = *disk_;
    for (unsigned version = 1; version <= 3; ++version)
        remember("web", version);
    std::copy_n(disk_->content.begin() + kRecords, 2 * kHistoryRecordBytes,
                before.content.begin() + kRecords);
    EXPECT_TRUE(disk_->content == before.content);
}

TEST_F(ImageHistoryTest, AnUpdateThatIsCutLeavesTheOneBefore) {
    remember("web", 1);
    remember("web", 2);
    const std::vector<std::byte> before = {disk_->content.begin(), disk_->content.end()};
    remember("web", 3);
    const std::vector<std::byte> after = {disk_->content.begin(), disk_->content.end()};
    // A medium writes sectors of 512 bytes, in any order: any of them new, the others old.
    for (std::size_t sector = kRecords; sector < kRecords + 2 * kHistoryRecordBytes; sector += 512) {
        for (const bool is_only_new : {false, true}) {
            const auto& from = is_only_new ? before : after;
            const auto& one = is_only_new ? after : before;
            std::copy(from.begin(), from.end(), disk_->content.begin());
            std::copy_n(one.begin() + static_cast<std::ptrdiff_t>(sector), 512,
                        disk_->content.begin() + static_cast<std::ptrdiff_t>(sector));
            EXPECT_GE(read().version_of("web").value_or(0), 2u) << "sector " << sector;
        }
    }
}

constexpr ByteOffset place_of(unsigned record) {
    return kRecords + record * kHistoryRecordBytes;
}

TEST_F(ImageHistoryTest, AVersionThatMayHaveBeenForgottenIsNotSilentlyMissing) {
    EXPECT_EQ(read().doubt, "") << "nothing was ever written";
    remember("web", 1);
    EXPECT_EQ(read().doubt, "");
    for (unsigned version = 2; version <= 3; ++version) {
        remember("web", version);
        EXPECT_EQ(read().doubt, "");
        const Bytes good = disk_->content;
        for (const unsigned record : {0u, 1u}) {
            for (const ByteOffset damage : {place_of(record), place_of(record) + 70})
                for (const std::size_t bytes : {std::size_t{1}, std::size_t{512}}) {
                    disk_->content = good;
                    std::fill_n(disk_->content.begin() + static_cast<std::ptrdiff_t>(damage), bytes,
                                std::byte{0xEE});
                    EXPECT_NE(read().doubt, "") << "record " << record << ", byte " << damage;
                    remember("web", 9);
                    EXPECT_EQ(read().doubt, "") << "told for certain from now on";
                    EXPECT_THAT(read().version_of("web"), Optional(9u));
                }
        }
        disk_->content = good;
    }
}

TEST_F(ImageHistoryTest, ARecordThatCannotBeReadIsADoubt) {
    remember("web", 1);
    remember("web", 2);
    for (const unsigned bad : {0u, 1u}) {
        MemoryDevice device(disk_);
        device.set_interceptor([&](std::size_t, const test::Call& call) {
            if (call.extent.begin == place_of(bad)) throw_error(Code::kSourceIo, "a bad sector");
        });
        const auto history = read_history(device, kRegion);
        ASSERT_TRUE(history);
        EXPECT_EQ(history->doubt, "a bad sector");
        EXPECT_THAT(history->version_of("web"), Optional(bad == 1 ? 1u : 2u));
    }
}

TEST_F(ImageHistoryTest, TwoDamagedRecordsAreMadeGoodAgainTogether) {
    remember("web", 1);
    remember("web", 2);
    for (const unsigned record : {0u, 1u})
        disk_->content[place_of(record) + 70] ^= std::byte{1};
    EXPECT_NE(read().doubt, "");
    remember("web", 3);
    EXPECT_EQ(read().doubt, "");
    EXPECT_THAT(read().version_of("web"), Optional(3u));
    remember("web", 4);
    EXPECT_THAT(read().version_of("web"), Optional(4u));
}

TEST_F(ImageHistoryTest, NoChangedBitIsBelieved) {
    ImageHistory history;
    history.generation = 5;
    history.remember("web", 9, 1700000000);
    const Bytes good = encode_history(history);
    ASSERT_TRUE(decode_history(good));
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        Bytes bad = good;
        bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        EXPECT_FALSE(decode_history(bad)) << "bit " << bit;
    }
}

TEST_F(ImageHistoryTest, TheImageThatWasNotUsedForLongestIsForgottenFirst) {
    for (unsigned i = 0; i < kHistoryEntryLimit; ++i)
        remember("image" + std::to_string(i), i + 1);
    remember("image0", 100);
    remember("new", 1);
    const ImageHistory history = read();
    EXPECT_EQ(history.entries.size(), kHistoryEntryLimit);
    EXPECT_THAT(history.version_of("image0"), Optional(100u));
    EXPECT_THAT(history.version_of("new"), Optional(1u));
    EXPECT_EQ(history.version_of("image1"), std::nullopt);
    remember(std::string(kHistoryNameLimit, 'n'), 3);
    EXPECT_THAT(read().version_of(std::string(kHistoryNameLimit, 'n')), Optional(3u));
}

TEST_F(ImageHistoryTest, WhatBecameOfAVersionIsKnownWhenOthersCame) {
    ImageHistory history;
    history.remember("web", 1, 100);
    EXPECT_FALSE(history.entries.front().note_failed()) << "it was not tried";
    EXPECT_TRUE(history.entries.front().note_tried());
    EXPECT_FALSE(history.entries.front().note_tried());
    EXPECT_TRUE(history.entries.front().note_came_up());
    EXPECT_FALSE(history.entries.front().note_came_up());
    history.remember("web", 2, 200);
    EXPECT_FALSE(history.entries.front().is_way_back(1)) << "2 may yet come up";
    history.entries.front().note_tried();
    EXPECT_TRUE(history.entries.front().note_failed());
    EXPECT_FALSE(history.entries.front().note_failed());
    EXPECT_TRUE(history.entries.front().is_bad(2));
    EXPECT_TRUE(history.entries.front().is_way_back(1));
    history.remember("db", 7, 300);
    history.remember("web", 1, 400);
    history.generation = 1;
    const auto read = decode_history(encode_history(history));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->entries, history.entries);
    const ImageHistory::Entry expected{"web", 1, 400, 2, 1, 2};
    EXPECT_EQ(read->entries.front(), expected);
    EXPECT_TRUE(read->entries.front().is_bad(2));
}

TEST_F(ImageHistoryTest, AVersionThatCameUpAndDoesNotAnyMoreIsNoWayBack) {
    ImageHistory::Entry image{"web", 3, 100, 3, 3, 0};
    EXPECT_TRUE(image.note_failed());
    EXPECT_TRUE(image.is_bad(3));
    EXPECT_EQ(image.came_up, 0u);
    EXPECT_TRUE(image.note_came_up()) << "after all";
    EXPECT_FALSE(image.is_bad(3));
    EXPECT_EQ(image.failed, 0u);
}

TEST_F(ImageHistoryTest, APartitionOfTheLeastSizeRemembersNothing) {
    const block::Extent small{kMiB, kMiB + kStoreMinimumBytes};
    EXPECT_FALSE(read_history(MemoryDevice(disk_), small));
    block::Target target(std::make_unique<MemoryDevice>(disk_), {});
    EXPECT_THROW(write_history(target, small, {}), Error);
}

}  // namespace
}  // namespace dupengine::profiles
