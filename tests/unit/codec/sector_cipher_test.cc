// AES-XTS as the standard has it, and sector after sector as dm-crypt counts them.

#include "codec/sector_cipher.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace dupengine::codec {
namespace {

constexpr std::size_t kSectorBytes = 512;

Bytes from_hex(std::string_view hex) {
    Bytes bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
        bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return bytes;
}

Secret secret_of(std::span<const std::byte> bytes) {
    Secret secret(bytes.size());
    std::ranges::copy(bytes, secret.all().begin());
    return secret;
}

Secret random_key(std::uint64_t seed) {
    Secret key(64);
    SeededRandom(seed).fill(key.all());
    return key;
}

Bytes random_bytes(std::size_t size) {
    Bytes bytes(size);
    SeededRandom(7).fill(bytes);
    return bytes;
}

// IEEE 1619-2007, annex B, vectors 4 and 5: the ciphertext of sector 0 is the plaintext of sector 1.
TEST(SectorCipher, GivesTheCiphertextsOfTheStandard) {
    const SectorCipher cipher(
        secret_of(from_hex("2718281828459045235360287471352631415926535897932384626433832795")),
        kSectorBytes);
    Bytes sector(kSectorBytes);
    for (std::size_t i = 0; i < kSectorBytes; ++i)
        sector[i] = static_cast<std::byte>(i);
    cipher.encrypt(0, sector);
    EXPECT_EQ(Bytes(sector.begin(), sector.begin() + 16), from_hex("27a7479befa1d476489f308cd4cfa6e2"));
    cipher.encrypt(1, sector);
    EXPECT_EQ(Bytes(sector.begin(), sector.begin() + 16), from_hex("264d3ca8512194fec312c8c9891f279f"));
}

class SectorCipherOf : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(SectorCipherOf, ManySectorsAreWhatEachOfThemIsByItself) {
    constexpr std::size_t kSectors = 5;
    const SectorCipher cipher(random_key(1), GetParam());
    const Bytes plain = random_bytes(kSectors * GetParam());
    Bytes together = plain, apart = plain;
    cipher.encrypt(1000, together);
    for (std::size_t i = 0; i < kSectors; ++i)
        cipher.encrypt(1000 + i * (GetParam() / 512), std::span(apart).subspan(i * GetParam(), GetParam()));
    EXPECT_EQ(together, apart);
    EXPECT_NE(together, plain);
    cipher.decrypt(1000, together);
    EXPECT_EQ(together, plain);
}

INSTANTIATE_TEST_SUITE_P(Bytes, SectorCipherOf, ::testing::Values(512u, 4096u));

TEST(SectorCipher, TheSameSectorIsAnotherUnderAnotherKeyOrNumber) {
    const Bytes plain(kSectorBytes);
    Bytes one = plain, other = plain, elsewhere = plain;
    const SectorCipher cipher(random_key(1), kSectorBytes);
    cipher.encrypt(9, one);
    cipher.encrypt(10, elsewhere);
    SectorCipher(random_key(2), kSectorBytes).encrypt(9, other);
    EXPECT_NE(one, other);
    EXPECT_NE(one, elsewhere);
}

TEST(SectorCipher, RefusesKeysAndRangesThatItHasNoUseFor) {
    EXPECT_THROW(SectorCipher(Secret(48), kSectorBytes), Error);
    EXPECT_THROW(SectorCipher(Secret(64), kSectorBytes), Error) << "two equal halves";
    Bytes half(kSectorBytes + 256);
    EXPECT_THROW(SectorCipher(random_key(1), kSectorBytes).encrypt(0, half), Error);
}

}  // namespace
}  // namespace dupengine::codec
