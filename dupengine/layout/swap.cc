// Linux swap areas (include/linux/swap.h, union swap_header): a header page with a ten-byte magic at its end,
// then pages that mean nothing once the machine is off. Unless it hibernated: then they are its memory.

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string_view>

#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

constexpr std::size_t kMagicBytes = 10;
constexpr std::size_t kVersionAt = 1024, kLastPageAt = 1028, kBadCountAt = 1032, kBadPagesAt = 1536;
constexpr std::array<std::uint64_t, 5> kPageSizes = {4 * kKiB, 8 * kKiB, 16 * kKiB, 32 * kKiB, 64 * kKiB};

// What kernels and the userspace suspend tools put over the magic: an image is on this swap.
constexpr std::array<std::string_view, 4> kHibernated = {"S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"};

struct Magic {
    std::uint64_t page_bytes = 0;
    std::string text;
};

std::string magic_at(const block::Reader& part, std::uint64_t page_bytes) {
    const Bytes bytes = block::read_extent(part, {page_bytes - kMagicBytes, page_bytes});
    const std::string text(as_text(bytes));
    return text.substr(0, text.find('\0'));
}

bool is_hibernated(const std::string& magic) {
    return std::find(kHibernated.begin(), kHibernated.end(), magic) != kHibernated.end();
}

std::optional<Magic> find_magic(const block::Reader& part) {
    for (std::uint64_t page_bytes : kPageSizes) {
        if (page_bytes > part.geometry().size_bytes) break;
        const std::string text = magic_at(part, page_bytes);
        if (text == "SWAPSPACE2" || text == "SWAP-SPACE" || is_hibernated(text))
            return Magic{page_bytes, text};
    }
    return std::nullopt;
}

}  // namespace

UsedExtents swap_used_extents(const block::Reader& part) {
    const auto magic = find_magic(part);
    if (!magic) throw_error(Code::kIntegrity, "no swap signature at the end of a page");
    UsedExtents result;
    result.block_bytes = magic->page_bytes;
    if (is_hibernated(magic->text)) {
        result.whole = true;
        result.reason = fmt::format("it holds a hibernated system ({})", magic->text);
        result.note = "the hibernated image is copied exactly as it is";
        return result;
    }
    if (magic->text == "SWAP-SPACE") throw_error(Code::kIntegrity, "a swap area of the old version 0 layout");

    const Bytes header = block::read_extent(part, {0, magic->page_bytes});
    const bool swapped = load_le<std::uint32_t>(header, kVersionAt) == __builtin_bswap32(1);
    const auto field = [&](std::size_t at) {
        return swapped ? load_be<std::uint32_t>(header, at) : load_le<std::uint32_t>(header, at);
    };
    if (field(kVersionAt) != 1)
        throw_error(Code::kIntegrity, "swap version {} is not known", field(kVersionAt));
    const std::uint64_t bad_room = (magic->page_bytes - kMagicBytes - kBadPagesAt) / sizeof(std::uint32_t);
    if (field(kBadCountAt) > bad_room)
        throw_error(Code::kIntegrity, "the swap header lists {} bad pages, {} fit", field(kBadCountAt),
                    bad_room);
    result.filesystem_bytes = (std::uint64_t{field(kLastPageAt)} + 1) * magic->page_bytes;
    if (field(kLastPageAt) == 0 || result.filesystem_bytes > part.geometry().size_bytes)
        throw_error(Code::kIntegrity, "the swap area claims {} bytes, the partition has {}",
                    result.filesystem_bytes, part.geometry().size_bytes);
    // The list of bad pages is inside the header page.
    result.used.insert({0, magic->page_bytes});
    return result;
}

}  // namespace dupengine::layout
