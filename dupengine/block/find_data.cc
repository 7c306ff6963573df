#include "block/find_data.h"

#include <algorithm>

#include "base/aligned_buffer.h"

namespace dupengine::block {
namespace {

constexpr std::uint64_t kStep = kMiB;
constexpr std::uint64_t kExact = 512;

std::optional<ByteOffset> first_data_in(std::span<const std::byte> bytes, ByteOffset base) {
    if (is_zero(bytes)) return std::nullopt;
    for (std::size_t at = 0; at < bytes.size(); at += kExact)
        if (!is_zero(bytes.subspan(at, std::min<std::size_t>(kExact, bytes.size() - at)))) return base + at;
    return std::nullopt;
}

}  // namespace

std::optional<ByteOffset> find_data(const Reader& reader, Extent within) {
    AlignedBuffer buffer(kStep);
    while (!within.empty()) {
        const Extent data = reader.next_data(within);
        for (ByteOffset at = data.begin; at < data.end; at += kStep) {
            const auto part = buffer.first(std::min(kStep, data.end - at));
            reader.read(at, part);
            if (const auto found = first_data_in(part, at)) return found;
        }
        within.begin = data.empty() ? within.end : data.end;
    }
    return std::nullopt;
}

}  // namespace dupengine::block
