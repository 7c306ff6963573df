// 4 words at a time; what AVX-512 has as packing and unpacking are permutations from a table here. As there,
// the functions alone are compiled for AVX2, not the file.

#include "codec/page_path.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <array>
#include <cstdint>

namespace dupengine::codec {
namespace {

constexpr std::size_t kStepBytes = 32;
constexpr std::size_t kWordBytes = 8;

// For each choice of 4 words, as numbers of 4-byte halves: where the packed words come from, where the words
// of the page come from in the packed ones, and which words are chosen (all bits of each).
struct Choice {
    alignas(kStepBytes) std::array<std::int32_t, 8> pack{};
    alignas(kStepBytes) std::array<std::int32_t, 8> unpack{};
    alignas(kStepBytes) std::array<std::int64_t, 4> chosen{};
    alignas(kStepBytes) std::array<std::int64_t, 4> first{};  // as many words as are chosen
};

constexpr std::array<Choice, 16> kChoices = [] {
    std::array<Choice, 16> choices{};
    for (unsigned mask = 0; mask < choices.size(); ++mask) {
        unsigned packed = 0;
        for (unsigned word = 0; word < 4; ++word) {
            if ((mask >> word & 1) == 0) continue;
            for (unsigned half = 0; half < 2; ++half) {
                choices[mask].pack[packed * 2 + half] = static_cast<std::int32_t>(word * 2 + half);
                choices[mask].unpack[word * 2 + half] = static_cast<std::int32_t>(packed * 2 + half);
            }
            choices[mask].chosen[word] = -1;
            choices[mask].first[packed] = -1;
            ++packed;
        }
    }
    return choices;
}();

[[gnu::target("avx2,popcnt")]] __m256i load(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
[[gnu::target("avx2,popcnt")]] void store(void* to, __m256i value) {
    _mm256_storeu_si256(static_cast<__m256i*>(to), value);
}

// The words of `after` that differ are packed and stored; which they are.
[[gnu::target("avx2,popcnt")]] unsigned find_step(const std::byte* before, const std::byte* after,
                                                  std::byte* words) {
    const __m256i is = load(after);
    const __m256i equal = _mm256_cmpeq_epi64(load(before), is);
    const unsigned differs = static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(equal))) ^ 0xF;
    store(words, _mm256_permutevar8x32_epi32(is, load(kChoices[differs].pack.data())));
    return differs;
}

[[gnu::target("avx2,popcnt")]] std::size_t find_avx2(const std::byte* before, const std::byte* after,
                                                     std::byte* bitmap, std::byte* words) {
    const std::byte* const begin = words;
    for (std::size_t at = 0; at < kPageBytes; at += 2 * kStepBytes) {
        const unsigned low = find_step(before + at, after + at, words);
        words += static_cast<unsigned>(_mm_popcnt_u32(low)) * kWordBytes;
        const unsigned high = find_step(before + at + kStepBytes, after + at + kStepBytes, words);
        words += static_cast<unsigned>(_mm_popcnt_u32(high)) * kWordBytes;
        bitmap[at / (2 * kStepBytes)] = static_cast<std::byte>(low | high << 4);
    }
    return static_cast<std::size_t>(words - begin) / kWordBytes;
}

[[gnu::target("avx2,popcnt")]] void swap_step(std::byte* page, const Choice& choice, const std::byte* words,
                                              std::byte* old) {
    const __m256i packed =
        _mm256_maskload_epi64(reinterpret_cast<const long long*>(words), load(choice.first.data()));
    const __m256i was = load(page);
    const __m256i spread = _mm256_permutevar8x32_epi32(packed, load(choice.unpack.data()));
    store(page, _mm256_blendv_epi8(was, spread, load(choice.chosen.data())));
    store(old, _mm256_permutevar8x32_epi32(was, load(choice.pack.data())));
}

[[gnu::target("avx2,popcnt")]] void swap_avx2(std::byte* page, std::uint64_t bits, const std::byte* words,
                                              std::byte* old) {
    for (; bits != 0; bits >>= 4, page += kStepBytes) {
        const auto named = static_cast<unsigned>(bits & 0xF);
        swap_step(page, kChoices[named], words, old);
        words += static_cast<unsigned>(_mm_popcnt_u32(named)) * kWordBytes;
        old += static_cast<unsigned>(_mm_popcnt_u32(named)) * kWordBytes;
    }
}

}  // namespace

const PageOperations kAvx2PageOperations{find_avx2, swap_avx2};

}  // namespace dupengine::codec

#endif
