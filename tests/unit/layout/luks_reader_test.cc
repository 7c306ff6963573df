// A payload on the other side of its encryption: any range of it, wherever sectors begin.

#include "layout/luks_reader.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/support/fake_devices.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using Direction = LuksReader::Direction;
using test::MemoryDevice;

constexpr std::uint64_t kSize = 256 * kKiB;

LuksHeader header_with(std::uint32_t sector_bytes, std::uint64_t iv_offset) {
    LuksHeader header;
    header.sector_bytes = sector_bytes;
    header.iv_offset = iv_offset;
    return header;
}

Secret key_of(std::uint64_t seed) {
    Secret key(64);
    SeededRandom(seed).fill(key.all());
    return key;
}

std::shared_ptr<MemoryDevice> patterned() {
    const auto bytes = std::make_shared<test::DiskBytes>(kSize);
    test::fill_pattern(bytes->content, 3);
    return std::make_shared<MemoryDevice>(bytes);
}

class LuksReaderOf : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(LuksReaderOf, WhatIsEncryptedAndDecryptedAgainIsTheSameInAnyRange) {
    const LuksHeader header = header_with(GetParam(), 77);
    const auto plain = patterned();
    const auto encrypted =
        std::make_shared<LuksReader>(plain, header, key_of(1), Direction::kEncrypt, "encrypted");
    const LuksReader again(encrypted, header, key_of(1), Direction::kDecrypt, "again");
    const Bytes whole = block::read_extent(*encrypted, {0, kSize});
    for (ByteOffset at = 0; at < kSize; at += 512)
        EXPECT_FALSE(std::equal(whole.begin() + static_cast<std::ptrdiff_t>(at),
                                whole.begin() + static_cast<std::ptrdiff_t>(at + 512),
                                plain->bytes()->content.begin() + static_cast<std::ptrdiff_t>(at)))
            << at;
    constexpr std::uint64_t kSeed = 5;
    SeededRandom random(kSeed);
    for (int i = 0; i < 200; ++i) {
        const ByteOffset begin = random.below(kSize);
        const Extent range{begin, begin + 1 + random.below(kSize - begin)};
        SCOPED_TRACE(fmt::format("seed {}, case {}: {}", kSeed, i, range.text()));
        const Bytes part = block::read_extent(*encrypted, range);
        ASSERT_TRUE(
            std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(range.begin)));
        ASSERT_EQ(block::read_extent(again, range), block::read_extent(*plain, range));
    }
}

INSTANTIATE_TEST_SUITE_P(Sectors, LuksReaderOf, ::testing::Values(512u, 4096u));

TEST(LuksReader, ReadsTheMediumIfItIsToldTo) {
    const auto plain = patterned();
    const LuksReader encrypted(plain, header_with(512, 0), key_of(1), Direction::kEncrypt, "encrypted");
    Bytes buffer(1000);
    encrypted.read_from_medium(100, buffer);
    ASSERT_EQ(plain->calls().size(), 1u);
    EXPECT_EQ(plain->calls().front().operation, test::Operation::kReadFromMedium);
    EXPECT_EQ(buffer, block::read_extent(encrypted, {100, 1100}));
}

TEST(LuksReader, AReadPastItsEndIsAnError) {
    const LuksReader encrypted(patterned(), header_with(512, 0), key_of(1), Direction::kEncrypt, "encrypted");
    EXPECT_THROW(block::read_extent(encrypted, {kSize - 512, kSize + 512}), Error);
    EXPECT_THROW(block::read_extent(encrypted, {kSize + 512, kSize + 1024}), Error);
}

// An error of the source names what is bad and not a neighbour that can be read.
TEST(LuksReader, ASectorThatCannotBeReadTakesNoOtherWithIt) {
    const auto plain = patterned();
    plain->set_interceptor([](std::size_t, const test::Call& call) {
        if (call.extent.touches({8192, 8704})) throw_error(Code::kSourceIo, "bad");
    });
    const LuksReader encrypted(plain, header_with(4096, 0), key_of(1), Direction::kEncrypt, "encrypted");
    EXPECT_NO_THROW(block::read_extent(encrypted, {4096, 8192}));
    EXPECT_NO_THROW(block::read_extent(encrypted, {12288, 16384}));
    EXPECT_THROW(block::read_extent(encrypted, {11776, 12288}), Error) << "its half is missing";
}

}  // namespace
}  // namespace dupengine::layout
