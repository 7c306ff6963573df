#include "codec/page_tag.h"

#include <algorithm>
#include <cstring>

#include "codec/digest.h"
#include "codec/page_path.h"

namespace dupengine::codec {
namespace {

__extension__ using Wide = unsigned __int128;

std::uint64_t word(const std::byte* at) {
    std::uint64_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

}  // namespace

PageTagger::PageTagger(const Key& key) {
    static_assert(kLineBytes * kPageLines == kPageBytes);
    // As many random-looking words as it wants, all of them made of the key.
    Bytes seed(key.begin(), key.end());
    seed.resize(key.size() + 8);
    const auto bytes = std::as_writable_bytes(std::span(key_));
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(Sha256)) {
        store_le<std::uint64_t>(seed, key.size(), at);
        const Sha256 digest = sha256(seed);
        std::copy_n(digest.begin(), std::min(digest.size(), bytes.size() - at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
    const std::array<std::byte, kPageBytes> zeros{};
    zeros_ = of(zeros);
}

std::uint64_t PageTagger::tag(std::span<const std::byte> words) const {
    const std::uint64_t* key = key_.data() + kEndWords;
    Wide sum = 0;
    for (std::size_t at = 0; at < words.size(); at += 16, key += 2)
        sum += Wide{word(words.data() + at) + key[0]} * (word(words.data() + at + 8) + key[1]);
    const auto wide_key = [&](std::size_t i) { return Wide{key_[i]} << 64 | key_[i + 1]; };
    const auto low = static_cast<std::uint64_t>(sum), high = static_cast<std::uint64_t>(sum >> 64);
    return static_cast<std::uint64_t>((wide_key(0) + wide_key(2) * low + wide_key(4) * high) >> 64);
}

std::uint64_t PageTagger::of(std::span<const std::byte> page) const {
    return tag(page.first(kPageBytes));
}

LineTags PageTagger::of_lines(std::span<const std::byte> page) const {
    LineTags tags{};
    for (std::size_t line = 0; line < kPageLines; ++line)
        tags[line] = tag(page.subspan(line * kLineBytes, kLineBytes));
    return tags;
}

}  // namespace dupengine::codec
