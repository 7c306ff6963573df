#include "machine/memory_shape.h"

#include <algorithm>

namespace dupengine::machine {
namespace {

constexpr std::string_view kMagic = "DUPMEMEN";

}  // namespace

void store(const ImageEnd& end, std::span<std::byte> page) {
    std::ranges::fill(page, std::byte{0});
    std::ranges::copy(as_bytes(kMagic), page.begin());
    store_le<std::uint64_t>(page, 8, end.own_pages);
    store_le<std::uint64_t>(page, 16, end.memory_pages);
    std::ranges::copy(end.tags, page.begin() + 24);
}

ImageEnd load_image_end(std::span<const std::byte> page) {
    if (page.size() < codec::kPageBytes || as_text(page.first(kMagic.size())) != kMagic)
        throw_error(Code::kPeer, "the other end's memory came without its end");
    ImageEnd end{load_le<std::uint64_t>(page, 8), load_le<std::uint64_t>(page, 16)};
    std::ranges::copy(page.subspan(24, end.tags.size()), end.tags.begin());
    return end;
}

}  // namespace dupengine::machine
