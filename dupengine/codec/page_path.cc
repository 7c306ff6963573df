#include "codec/page_path.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/error.h"

namespace dupengine::codec {
namespace {

constexpr std::size_t kWordBytes = 8;
constexpr std::size_t kWordsOfBitmap = 64;  // one 8-byte part of the bitmap
constexpr std::size_t kBitmapParts = 8;
constexpr std::size_t kPartBytes = kPageBytes / kBitmapParts;
// Of 64; below it one word after the other is faster than eight at a time.
constexpr std::size_t kFewWords = 12;

std::uint64_t load_word(const std::byte* from) {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
}

void store_word(std::byte* to, std::uint64_t word) {
    std::memcpy(to, &word, sizeof word);
}

// Each word is written and the place moves on if it counts: a branch on every word would be guessed wrong.
std::size_t find_plain(const std::byte* before, const std::byte* after, std::byte* bitmap, std::byte* words) {
    std::size_t found = 0;
    for (std::size_t part = 0; part < kBitmapParts; ++part) {
        std::uint64_t bits = 0;
        for (std::size_t i = 0; i < kWordsOfBitmap; ++i) {
            const std::size_t at = (part * kWordsOfBitmap + i) * kWordBytes;
            const std::uint64_t word = load_word(after + at);
            const std::uint64_t differs = word != load_word(before + at) ? 1 : 0;
            store_word(words + found * kWordBytes, word);
            bits |= differs << i;
            found += differs;
        }
        store_word(bitmap + part * kWordBytes, bits);
    }
    return found;
}

void swap_plain(std::byte* part, std::uint64_t bits, const std::byte* words, std::byte* old) {
    for (; bits != 0; bits &= bits - 1) {
        std::byte* place = part + static_cast<std::size_t>(std::countr_zero(bits)) * kWordBytes;
        store_word(old, load_word(place));
        store_word(place, load_word(words));
        words += kWordBytes;
        old += kWordBytes;
    }
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "word w is bit w % 8 of byte w / 8");
const PageOperations kPlainPageOperations{find_plain, swap_plain};

const char* page_path_name(PagePath path) {
    switch (path) {
        case PagePath::kPlain:
            return "plain";
        case PagePath::kAvx2:
            return "avx2";
        case PagePath::kAvx512:
            return "avx512";
    }
    return "unknown";
}

// The compiler's run time asks the processor, and whether the kernel saves the registers.
bool has_page_path(PagePath path) {
#if defined(__x86_64__)
    if (path == PagePath::kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
    if (path == PagePath::kAvx512) return __builtin_cpu_supports("avx512f") && has_page_path(PagePath::kAvx2);
#endif
    return path == PagePath::kPlain;
}

std::vector<PagePath> page_paths() {
    std::vector<PagePath> paths;
    for (const PagePath path : {PagePath::kPlain, PagePath::kAvx2, PagePath::kAvx512})
        if (has_page_path(path)) paths.push_back(path);
    return paths;
}

PagePath fastest_page_path() {
    for (const PagePath path : {PagePath::kAvx512, PagePath::kAvx2})
        if (has_page_path(path)) return path;
    return PagePath::kPlain;
}

const PageOperations& page_operations(PagePath path) {
    if (!has_page_path(path))
        throw_error(Code::kUnsupported, "this processor has no {} instructions", page_path_name(path));
#if defined(__x86_64__)
    if (path == PagePath::kAvx2) return kAvx2PageOperations;
    if (path == PagePath::kAvx512) return kAvx512PageOperations;
#endif
    return kPlainPageOperations;
}

// What the page was is packed aside: a load from the group right behind a store into it would wait for it.
std::size_t swap_page(const PageOperations& operations, std::byte* page, const std::byte* bitmap,
                      std::byte* words) {
    alignas(64) std::byte old[kPageBytes];
    std::size_t done = 0;
    for (std::size_t part = 0; part < kBitmapParts; ++part) {
        const std::uint64_t bits = load_word(bitmap + part * kWordBytes);
        const auto count = static_cast<std::size_t>(std::popcount(bits));
        const auto swap = count <= kFewWords ? swap_plain : operations.swap;
        swap(page + part * kPartBytes, bits, words + done * kWordBytes, old + done * kWordBytes);
        done += count;
    }
    std::memcpy(words, old, done * kWordBytes);
    return done;
}

}  // namespace dupengine::codec
