#include "codec/digest.h"

#include <gtest/gtest.h>

#include "tests/support/fake_devices.h"

namespace dupengine::codec {
namespace {

TEST(Digest, Sha256AndHmacAreTheStandards) {
    EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");  // RFC 4231, case 2
}

TEST(Digest, ARangeOfADeviceIsReadFromTheMedium) {
    test::MemoryDevice disk(3 * kMiB);
    test::fill_pattern(disk.bytes()->content, 5);
    const block::Extent range{4096, 2 * kMiB + 8192};
    const auto expected = sha256(std::span(disk.bytes()->content).subspan(range.begin, range.size()));
    EXPECT_EQ(sha256_of(disk, range), expected);
    for (const test::Call& call : disk.calls())
        EXPECT_EQ(call.operation, test::Operation::kReadFromMedium);
}

TEST(Digest, OneFlippedBitChangesIt) {
    Bytes bytes(4096);
    const Xxh128 before = xxh128(bytes);
    bytes[4095] = std::byte{1};
    EXPECT_NE(xxh128(bytes), before);
}

}  // namespace
}  // namespace dupengine::codec
