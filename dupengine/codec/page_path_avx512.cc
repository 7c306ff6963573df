// 8 words at a time. The functions alone are compiled for AVX-512, not the file: an inline function of a
// header, compiled here, could otherwise be the one that the linker keeps for processors without it.

#include "codec/page_path.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstdint>

namespace dupengine::codec {
namespace {

constexpr std::size_t kStepBytes = 64;
constexpr std::size_t kWordBytes = 8;

[[gnu::target("avx512f,avx2,popcnt")]] __mmask8 first_words(unsigned count) {
    return static_cast<__mmask8>((1u << count) - 1);
}

// Packed in a register and stored whole: packing straight into memory takes several times as long on Zen 4.
// Before step i at most 8 * i words are packed, so the store stays within 4096 bytes.
[[gnu::target("avx512f,avx2,popcnt")]] std::size_t find_avx512(const std::byte* before,
                                                               const std::byte* after, std::byte* bitmap,
                                                               std::byte* words) {
    const std::byte* const begin = words;
    for (std::size_t at = 0; at < kPageBytes; at += kStepBytes) {
        const __m512i was = _mm512_loadu_si512(before + at);
        const __m512i is = _mm512_loadu_si512(after + at);
        const __mmask8 differs = _mm512_cmpneq_epi64_mask(was, is);
        bitmap[at / kStepBytes] = static_cast<std::byte>(differs);
        _mm512_storeu_si512(words, _mm512_maskz_compress_epi64(differs, is));
        words += static_cast<unsigned>(_mm_popcnt_u32(differs)) * kWordBytes;
    }
    return static_cast<std::size_t>(words - begin) / kWordBytes;
}

[[gnu::target("avx512f,avx2,popcnt")]] void swap_avx512(std::byte* page, std::uint64_t bits,
                                                        const std::byte* words, std::byte* old) {
    for (; bits != 0; bits >>= 8, page += kStepBytes) {
        const auto named = static_cast<__mmask8>(bits);
        const auto count = static_cast<unsigned>(_mm_popcnt_u32(named));
        const __m512i packed = _mm512_maskz_loadu_epi64(first_words(count), words);
        const __m512i was = _mm512_loadu_si512(page);
        _mm512_storeu_si512(page, _mm512_mask_expand_epi64(was, named, packed));
        _mm512_storeu_si512(old, _mm512_maskz_compress_epi64(named, was));
        words += count * kWordBytes;
        old += count * kWordBytes;
    }
}

}  // namespace

const PageOperations kAvx512PageOperations{find_avx512, swap_avx512};

}  // namespace dupengine::codec

#endif
