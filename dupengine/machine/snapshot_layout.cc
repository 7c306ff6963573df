#include "machine/snapshot_layout.h"

#include <algorithm>

#include "base/bytes.h"
#include "codec/page_path.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

// struct swsusp_info (kernel/power/power.h): 400 bytes that belong to the kernel (its name, or what the
// processor needs), pages of the machine, processors, pages of data, pages in all, bytes.
constexpr std::size_t kImagePages = 416, kPages = 424, kSize = 432;
// BM_END_OF_MAP and ENCODED_PFN_ZERO_FLAG (kernel/power/snapshot.c).
constexpr std::uint64_t kEndOfMap = ~std::uint64_t{0}, kIsZeros = std::uint64_t{1} << 63;

[[noreturn]] void throw_unknown(const char* what) {
    throw_error(Code::kUnsupported, "this kernel's snapshot has a layout that is not known ({})", what);
}

}  // namespace

SnapshotHeader read_snapshot_header(std::span<const std::byte> page) {
    if (page.size() != kPageBytes) throw_unknown("no whole page");
    const auto memory_pages = load_le<std::uint64_t>(page, kImagePages);
    const auto pages = load_le<std::uint64_t>(page, kPages);
    if (pages < 2 || memory_pages > pages - 2 || load_le<std::uint64_t>(page, kSize) / kPageBytes != pages)
        throw_unknown("its header");
    return {memory_pages, pages - memory_pages - 1};
}

std::vector<std::uint64_t> read_frame_numbers(std::span<const std::byte> pages, const SnapshotHeader& header,
                                              std::uint64_t span_pages) {
    if (pages.size() / kPageBytes != header.number_pages || pages.size() % kPageBytes != 0)
        throw_unknown("too few pages of numbers");
    std::vector<std::uint64_t> numbers;
    numbers.reserve(std::min<std::uint64_t>(header.memory_pages, pages.size() / 8));
    std::uint64_t least = 0;
    for (std::size_t at = 0; at < pages.size(); at += 8) {
        const auto entry = load_le<std::uint64_t>(pages, at);
        if (entry == kEndOfMap) break;
        const std::uint64_t number = entry & ~kIsZeros;
        if (number < least || number >= span_pages) throw_unknown("its page numbers");
        least = number + 1;
        if ((entry & kIsZeros) == 0) numbers.push_back(number);
    }
    if (numbers.size() != header.memory_pages) throw_unknown("as many pages as numbers");
    return numbers;
}

}  // namespace dupengine::machine
