#include "base/bytes.h"

#include <gtest/gtest.h>

namespace dupengine {
namespace {

TEST(Bytes, AFieldThatPassesTheEndOfAStructureIsRefused) {
    const Bytes four(4, std::byte{0xFF});
    EXPECT_EQ(load_le<std::uint32_t>(four, 0), 0xFFFFFFFFu);
    EXPECT_THROW(load_le<std::uint32_t>(four, 1), Error);
    EXPECT_THROW(load_le<std::uint64_t>(four, 0), Error);
    EXPECT_THROW(load_le<std::uint16_t>(four, std::numeric_limits<std::size_t>::max()), Error);
}

TEST(Bytes, LoadsAndStoresInBothByteOrders) {
    Bytes eight(8);
    store_le<std::uint64_t>(eight, 0, 0x0102030405060708u);
    EXPECT_EQ(eight[0], std::byte{8});
    EXPECT_EQ(load_be<std::uint64_t>(eight, 0), 0x0807060504030201u);
    EXPECT_EQ(load_be<std::uint16_t>(eight, 6), 0x0201u);
    EXPECT_THROW(store_le<std::uint32_t>(eight, 5, 1u), Error);
}

TEST(Bytes, NumbersFromADiskThatOverflowAreRefusedNotWrapped) {
    const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    EXPECT_EQ(checked_add(most - 1, 1, "sum"), most);
    EXPECT_THROW(checked_add(most, 1, "sum"), Error);
    EXPECT_THROW(checked_mul(most / 2, 3, "product"), Error);
}

TEST(Bytes, AligningUpNeverPassesTheLargestNumber) {
    EXPECT_EQ(align_up(4097, 4096), 8192u);
    EXPECT_EQ(align_up(8192, 4096), 8192u);
    EXPECT_EQ(align_up(std::numeric_limits<std::uint64_t>::max(), 4096) % 4096, 0u);
    EXPECT_EQ(align_down(4095, 4096), 0u);
}

TEST(Bytes, OneByteThatIsNotZeroIsFoundWhereverItStands) {
    for (const std::size_t size : {1u, 15u, 16u, 17u, 63u, 4096u}) {
        Bytes bytes(size);
        EXPECT_TRUE(is_zero(bytes)) << size;
        for (std::size_t at = 0; at < size; ++at) {
            bytes[at] = std::byte{1};
            EXPECT_FALSE(is_zero(bytes)) << size << " at " << at;
            bytes[at] = std::byte{0};
        }
    }
    EXPECT_TRUE(is_zero({}));
}

TEST(Bytes, HexadecimalComesBackAsItWas) {
    const Bytes bytes = from_hex("00ffA5");
    EXPECT_EQ(to_hex(bytes), "00ffa5");
    EXPECT_THROW(from_hex("abc"), Error);
    EXPECT_THROW(from_hex("zz"), Error);
}

TEST(Bytes, Crc32IsTheOneOfGptHeaders) {
    EXPECT_EQ(crc32(as_bytes("123456789")), 0xCBF43926u);  // the check value of CRC-32/ISO-HDLC
    EXPECT_EQ(crc32({}), 0u);
}

}  // namespace
}  // namespace dupengine
