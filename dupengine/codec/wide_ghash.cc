// In GHASH the first bit of a block is the lowest coefficient. Turned round byte by byte, blocks are
// polynomials with the lowest coefficient in the lowest bit, in the field of POLYVAL, where a product comes
// with a factor x^-128 that the key makes good for (RFC 8452, appendix A). Products of many blocks are added
// before they are reduced. The functions alone are compiled for these instructions, not the file
// (page_path_avx512.cc).

#include "codec/wide_ghash.h"

#include "base/bytes.h"

#if defined(__x86_64__)

#include <immintrin.h>

namespace dupengine::codec {
namespace {

// x^127 + x^126 + x^121 of the field's polynomial x^128 + x^127 + x^126 + x^121 + 1.
constexpr std::uint64_t kPolynomial = 0xC200000000000000;
constexpr std::size_t kBlockBytes = 16;
constexpr std::size_t kVectorBytes = 64;

struct Product {
    __m128i low, high;
};

[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] __m128i turn_round(__m128i block) {
    return _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

// Twice 64 bits are made zero from below by adding a multiple of the polynomial.
[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] __m128i reduce(Product product) {
    const __m128i polynomial = _mm_set_epi64x(0, static_cast<long long>(kPolynomial));
    __m128i low = product.low;
    for (int i = 0; i < 2; ++i)
        low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4E), _mm_clmulepi64_si128(low, polynomial, 0x00));
    return _mm_xor_si128(product.high, low);
}

[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] Product join(__m128i low, __m128i middle, __m128i high) {
    return {_mm_xor_si128(low, _mm_slli_si128(middle, 8)), _mm_xor_si128(high, _mm_srli_si128(middle, 8))};
}

[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] __m128i multiply(__m128i a, __m128i b) {
    const __m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
    return reduce(join(_mm_clmulepi64_si128(a, b, 0x00), middle, _mm_clmulepi64_si128(a, b, 0x11)));
}

[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] __m128i load(const WideGhash::Block& block) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.data()));
}

[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] void store(WideGhash::Block& block, __m128i value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(block.data()), value);
}

// Times x.
[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] __m128i shift(__m128i value) {
    const auto low = static_cast<std::uint64_t>(_mm_cvtsi128_si64(value));
    const auto high = static_cast<std::uint64_t>(_mm_extract_epi64(value, 1));
    const bool overflows = high >> 63 != 0;
    return _mm_set_epi64x(static_cast<long long>((high << 1 | low >> 63) ^ (overflows ? kPolynomial : 0)),
                          static_cast<long long>(low << 1 ^ (overflows ? 1 : 0)));
}

// The four lanes added.
[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] __m128i add_lanes(__m512i lanes) {
    const __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
    return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// `state` goes into the first of kBlocksAtOnce blocks.
[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] __m128i take_many(__m128i state, const std::byte* blocks,
                                                                const WideGhash::Block* powers) {
    const __m512i turn =
        _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    __m512i low = _mm512_setzero_si512(), middle = low, high = low;
    __m512i carried = _mm512_zextsi128_si512(state);
    for (std::size_t at = 0; at < WideGhash::kBlocksAtOnce * kBlockBytes; at += kVectorBytes) {
        const __m512i turned = _mm512_shuffle_epi8(_mm512_loadu_si512(blocks + at), turn);
        const __m512i a = _mm512_xor_si512(turned, carried);
        const __m512i b = _mm512_load_si512(powers->data() + at);
        low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(a, b, 0x00));
        middle = _mm512_xor_si512(middle, _mm512_xor_si512(_mm512_clmulepi64_epi128(a, b, 0x01),
                                                           _mm512_clmulepi64_epi128(a, b, 0x10)));
        high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(a, b, 0x11));
        carried = _mm512_setzero_si512();
    }
    return reduce(join(add_lanes(low), add_lanes(middle), add_lanes(high)));
}

[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] WideGhash::Block hash(std::span<const std::byte> bytes,
                                                                    const WideGhash::Block* powers) {
    constexpr std::size_t kManyBytes = WideGhash::kBlocksAtOnce * kBlockBytes;
    const __m128i key = load(powers[WideGhash::kBlocksAtOnce - 1]);
    const __m128i length = _mm_set_epi64x(static_cast<long long>(bytes.size() * 8), 0);
    __m128i state = _mm_setzero_si128();
    for (; bytes.size() >= kManyBytes; bytes = bytes.subspan(kManyBytes))
        state = take_many(state, bytes.data(), powers);
    while (!bytes.empty()) {
        WideGhash::Block block{};
        const auto part = bytes.first(std::min(bytes.size(), block.size()));
        std::memcpy(block.data(), part.data(), part.size());
        state = multiply(_mm_xor_si128(state, turn_round(load(block))), key);
        bytes = bytes.subspan(part.size());
    }
    WideGhash::Block digest;
    store(digest, turn_round(multiply(_mm_xor_si128(state, length), key)));
    return digest;
}

[[gnu::target("avx512bw,vpclmulqdq,pclmul")]] void make_powers(const WideGhash::Block& key,
                                                               std::span<WideGhash::Block> powers) {
    const __m128i first = shift(turn_round(load(key)));
    __m128i power = first;
    for (std::size_t i = powers.size(); i > 0; --i) {
        store(powers[i - 1], power);
        power = multiply(power, first);
    }
}

}  // namespace

bool WideGhash::is_to_be_had() {
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("vpclmulqdq") != 0 && __builtin_cpu_supports("pclmul") != 0;
}

WideGhash::WideGhash(const Block& key) {
    make_powers(key, powers_);
}

WideGhash::Block WideGhash::of(std::span<const std::byte> bytes) const {
    return hash(bytes, powers_.data());
}

}  // namespace dupengine::codec

#else

namespace dupengine::codec {

bool WideGhash::is_to_be_had() {
    return false;
}

WideGhash::WideGhash(const Block&) {}

WideGhash::Block WideGhash::of(std::span<const std::byte>) const {
    return {};
}

}  // namespace dupengine::codec

#endif
