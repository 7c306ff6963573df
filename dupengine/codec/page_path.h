#pragma once
// How pages are compared and swapped: with what instructions of the processor. All ways give the same bytes;
// the fastest that this processor has is the default, a test or a benchmark names one. Pure; safe from any
// thread.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dupengine::codec {

inline constexpr std::size_t kPageBytes = 4096;

enum class PagePath { kPlain, kAvx2, kAvx512 };

/// "plain", "avx2", "avx512".
const char* page_path_name(PagePath path);
bool has_page_path(PagePath path);
/// Those that this processor has, the fastest last; the plain one is always among them.
std::vector<PagePath> page_paths();
PagePath fastest_page_path();

/// One page of 512 words. Word w is bit w % 8 of byte w / 8 of `bitmap`, 64 bytes. Words are packed in the
/// order of the page.
struct PageOperations {
    /// Sets the bit of each word that differs, and packs what these words are in `after`. Returns their
    /// number. Of `words` up to 4096 bytes are written, even if fewer are counted.
    std::size_t (*find)(const std::byte* before, const std::byte* after, std::byte* bitmap, std::byte* words);
    /// Of 64 words of the page: those named by `bits` are packed into `old`, and replaced by `words`, of
    /// which no other is read. 512 bytes of `old` may be written.
    void (*swap)(std::byte* part, std::uint64_t bits, const std::byte* words, std::byte* old);
};
/// Throws kUnsupported if this processor lacks it.
const PageOperations& page_operations(PagePath path);

/// Swaps the words of a page that `bitmap` names with the packed ones, and touches no others. Returns how
/// many.
std::size_t swap_page(const PageOperations& operations, std::byte* page, const std::byte* bitmap,
                      std::byte* words);

// Each in a file of its own; called by page_operations() only.
extern const PageOperations kPlainPageOperations;
#if defined(__x86_64__)
extern const PageOperations kAvx2PageOperations;
extern const PageOperations kAvx512PageOperations;
#endif

}  // namespace dupengine::codec
