// A signature that firmware takes is one that everybody takes, and no other one is.

#include "efi/core/ed25519.h"

#include <gmock/gmock.h>
#include <openssl/evp.h>

#include "base/bytes.h"
#include "base/random.h"
#include "efi/core/sha512.h"

namespace dupengine {
namespace {

efi::PublicKey key_of(const std::string& hex) {
    efi::PublicKey key;
    std::ranges::copy(from_hex(hex), key.begin());
    return key;
}

// A pair of OpenSSL, from its seed.
class OtherEnd {
  public:
    explicit OtherEnd(RandomSource& random) {
        Bytes seed(32);
        random.fill(seed);
        key_ = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                            reinterpret_cast<const unsigned char*>(seed.data()), seed.size());
    }
    ~OtherEnd() { EVP_PKEY_free(key_); }
    OtherEnd(const OtherEnd&) = delete;
    OtherEnd& operator=(const OtherEnd&) = delete;

    efi::PublicKey public_key() const {
        efi::PublicKey key;
        std::size_t size = key.size();
        EVP_PKEY_get_raw_public_key(key_, reinterpret_cast<unsigned char*>(key.data()), &size);
        return key;
    }
    Bytes sign(const Bytes& message) const {
        Bytes signature(efi::kSignatureBytes);
        std::size_t size = signature.size();
        EVP_MD_CTX* context = EVP_MD_CTX_new();
        EVP_DigestSignInit(context, nullptr, nullptr, nullptr, key_);
        EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                       reinterpret_cast<const unsigned char*>(message.data()), message.size());
        EVP_MD_CTX_free(context);
        return signature;
    }

  private:
    EVP_PKEY* key_ = nullptr;
};

Bytes random_bytes(RandomSource& random, std::size_t size) {
    Bytes bytes(size);
    random.fill(bytes);
    return bytes;
}

TEST(EfiSha512, IsTheDigestOfFips180ForEveryLengthAndHoweverItComes) {
    SeededRandom random(1);
    for (std::size_t size = 0; size < 400; ++size) {
        const Bytes bytes = random_bytes(random, size);
        efi::Sha512::Digest expected;
        EVP_Digest(bytes.data(), size, reinterpret_cast<unsigned char*>(expected.data()), nullptr,
                   EVP_sha512(), nullptr);
        const efi::Bytes whole(bytes);
        EXPECT_EQ(efi::Sha512().add(whole).finish(), expected) << size << " bytes";
        EXPECT_EQ(efi::Sha512().add(whole.first(size / 3)).add(whole.subspan(size / 3)).finish(), expected);
    }
}

// RFC 8032, 7.1: tests 1, 2, 3 and SHA(abc).
TEST(EfiEd25519, TakesTheSignaturesOfItsStandard) {
    struct Vector {
        const char *key, *message, *signature;
    };
    const Vector vectors[] = {
        {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"},
        {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
         "387b2eaeb4302aeeb00d291612bb0c00"},
        {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"},
        {"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
         "454d4423643ce80e2a9ac94fa54ca49f",
         "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
         "3dca179c138ac17ad9bef1177331a704"}};
    for (const Vector& vector : vectors) {
        const Bytes message = from_hex(vector.message), signature = from_hex(vector.signature);
        EXPECT_TRUE(efi::is_signed_by(key_of(vector.key), message, signature)) << vector.key;
    }
}

TEST(EfiEd25519, TakesWhatTheOwnerOfTheKeySignedAndNothingThatWasChanged) {
    SeededRandom random(2);
    for (std::size_t size = 0; size < 60; ++size) {
        const OtherEnd owner(random), stranger(random);
        const Bytes message = random_bytes(random, size);
        const Bytes signature = owner.sign(message);
        EXPECT_TRUE(efi::is_signed_by(owner.public_key(), message, signature)) << size;
        EXPECT_FALSE(efi::is_signed_by(stranger.public_key(), message, signature)) << size;
        const auto flipped = [&](Bytes bytes) {
            const std::size_t bit = load_le<std::uint32_t>(random_bytes(random, 4), 0) % (bytes.size() * 8);
            bytes[bit / 8] ^= std::byte{1} << (bit % 8);
            return bytes;
        };
        EXPECT_FALSE(efi::is_signed_by(owner.public_key(), message, flipped(signature))) << size;
        // An empty message has no bit to change.
        Bytes other = message.empty() ? Bytes(1) : flipped(message);
        EXPECT_FALSE(efi::is_signed_by(owner.public_key(), other, signature)) << size;
    }
}

TEST(EfiEd25519, TakesOneFormOfASignatureOnly) {
    SeededRandom random(3);
    const OtherEnd owner(random);
    const Bytes message = random_bytes(random, 20);
    Bytes signature = owner.sign(message);
    for (std::size_t size = 0; size < signature.size(); ++size)
        EXPECT_FALSE(efi::is_signed_by(owner.public_key(), message, efi::Bytes(signature).first(size)));
    // The second number plus the order of the base point: the same modulo that.
    const Bytes order = from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    unsigned carry = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        carry += std::to_integer<unsigned>(signature[32 + i]) + std::to_integer<unsigned>(order[i]);
        signature[32 + i] = static_cast<std::byte>(carry);
        carry >>= 8;
    }
    EXPECT_FALSE(efi::is_signed_by(owner.public_key(), message, signature));
}

// Neither points that are not on the curve, nor numbers that are written in a second way (2^255 - 19 is 0).
TEST(EfiEd25519, TakesNoKeyThatIsNone) {
    const Bytes signature(efi::kSignatureBytes);
    unsigned taken = 0;
    for (unsigned i = 0; i < 256; ++i) {
        efi::PublicKey key{};
        key[0] = static_cast<std::byte>(i);
        taken += efi::is_signed_by(key, {}, signature) ? 1u : 0u;
    }
    EXPECT_EQ(taken, 0u);
    // 0 as y is a point of order 4; with zeros as the signature it must not be taken in its second form.
    efi::PublicKey zero{};
    zero.fill(std::byte{0xff});
    zero[0] = std::byte{0xed};
    zero[31] = std::byte{0x7f};
    EXPECT_FALSE(efi::is_signed_by(zero, {}, signature));
}

}  // namespace
}  // namespace dupengine
