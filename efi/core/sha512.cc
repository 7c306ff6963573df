#include "efi/core/sha512.h"

namespace dupengine::efi {
namespace {

constexpr std::size_t kRounds = 80;

// FIPS 180-4, 4.2.3: of the cube roots of the first 80 primes.
constexpr std::array<std::uint64_t, kRounds> kRoundWords = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
    0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
    0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
    0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
    0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
    0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
    0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
    0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
    0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
    0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};

}  // namespace

// FIPS 180-4, 6.4.2.
void Sha512::add_block(Bytes block) {
    std::array<std::uint64_t, kRounds> words;
    for (std::size_t i = 0; i < 16; ++i)
        words[i] = __builtin_bswap64(load_le<std::uint64_t>(block, 8 * i));
    for (std::size_t i = 16; i < kRounds; ++i) {
        const std::uint64_t a = words[i - 15], b = words[i - 2];
        words[i] = words[i - 16] + (std::rotr(a, 1) ^ std::rotr(a, 8) ^ (a >> 7)) + words[i - 7] +
                   (std::rotr(b, 19) ^ std::rotr(b, 61) ^ (b >> 6));
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (std::size_t i = 0; i < kRounds; ++i) {
        const std::uint64_t one = h + (std::rotr(e, 14) ^ std::rotr(e, 18) ^ std::rotr(e, 41)) +
                                  ((e & f) ^ (~e & g)) + kRoundWords[i] + words[i];
        const std::uint64_t two =
            (std::rotr(a, 28) ^ std::rotr(a, 34) ^ std::rotr(a, 39)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + one;
        d = c, c = b, b = a, a = one + two;
    }
    const std::array<std::uint64_t, 8> added = {a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < state_.size(); ++i)
        state_[i] += added[i];
}

Sha512& Sha512::add(Bytes bytes) {
    for (std::byte b : bytes) {
        block_[size_bytes_ % kBlockBytes] = b;
        if (++size_bytes_ % kBlockBytes == 0) add_block(block_);
    }
    return *this;
}

Sha512::Digest Sha512::finish() {
    // A bit 1, zeros, and the length in bits as a number of 16 bytes at the end of a block.
    const std::array<std::uint64_t, 2> length = {0, __builtin_bswap64(size_bytes_ * 8)};
    const std::array one = {std::byte{0x80}}, zero = {std::byte{0}};
    add(one);
    while (size_bytes_ % kBlockBytes != kBlockBytes - sizeof length)
        add(zero);
    add(std::as_bytes(std::span(length)));

    Digest digest;
    for (std::size_t i = 0; i < digest.size(); ++i)
        digest[i] = static_cast<std::byte>(state_[i / 8] >> (56 - 8 * (i % 8)));
    return digest;
}

}  // namespace dupengine::efi
