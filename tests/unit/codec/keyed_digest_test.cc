#include "codec/keyed_digest.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/random.h"

namespace dupengine::codec {
namespace {

KeyedDigest::Key a_key(std::uint64_t seed) {
    KeyedDigest::Key key;
    SeededRandom(seed).fill(key);
    return key;
}

Bytes a_piece(std::size_t size = 64 * kKiB) {
    Bytes bytes(size);
    SeededRandom(7).fill(bytes);
    return bytes;
}

// Made with: printf dupengine | openssl mac -cipher AES-128-GCM -macopt hexiv:000000000000000000000000
// -macopt hexkey:000102030405060708090a0b0c0d0e0f GMAC
TEST(KeyedDigest, IsGmacOfAes128WithANonceOfZeros) {
    KeyedDigest::Key key;
    for (std::size_t i = 0; i < key.size(); ++i)
        key[i] = static_cast<std::byte>(i);
    KeyedDigest digest(key);
    EXPECT_EQ(to_hex(digest.of(as_bytes("dupengine"))), "b8b5ffaea34ba5b9eac05cc6cf4bce34");
}

// Two machines may have different processors.
TEST(KeyedDigest, IsTheSameInEveryWay) {
    KeyedDigest fastest(a_key(3)), plain(a_key(3), KeyedDigest::Way::kOpenSsl);
    const Bytes bytes = a_piece();
    for (std::size_t size = 0; size <= bytes.size(); size += size < 1100 ? 1 : 1021)
        EXPECT_EQ(fastest.of(std::span(bytes).last(size)), plain.of(std::span(bytes).last(size))) << size;
    EXPECT_EQ(fastest.of(bytes), plain.of(bytes));
}

TEST(KeyedDigest, TellsEveryBitApart) {
    KeyedDigest digest(a_key(1));
    Bytes bytes = a_piece(4096);
    const auto before = digest.of(bytes);
    EXPECT_EQ(digest.of(bytes), before) << "the second of the same bytes";
    for (std::size_t bit = 0; bit < bytes.size() * 8; bit += 7) {
        bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        EXPECT_NE(digest.of(bytes), before) << "bit " << bit;
        bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    }
    EXPECT_NE(digest.of(std::span(bytes).first(4095)), before);
    EXPECT_NE(digest.of(Bytes(4096)), digest.of(Bytes(4095)));
}

TEST(KeyedDigest, UnderAnotherKeyIsAnother) {
    const Bytes bytes = a_piece();
    KeyedDigest one(a_key(1)), same(a_key(1)), other(a_key(2));
    EXPECT_EQ(one.of(bytes), same.of(bytes));
    EXPECT_NE(one.of(bytes), other.of(bytes));
}

}  // namespace
}  // namespace dupengine::codec
