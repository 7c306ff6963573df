#include "codec/page_tag.h"

#include <xxhash.h>

#include <algorithm>

#include "codec/digest.h"
#include "codec/page_path.h"

namespace dupengine::codec {

PageTagger::PageTagger(const Key& key) {
    static_assert(kLineBytes * kPageLines == kPageBytes);
    static_assert(sizeof secret_ >= XXH3_SECRET_SIZE_MIN && sizeof secret_ % sizeof(Sha256) == 0);
    // As many random-looking bytes as it wants, all of them made of the key.
    Bytes seed(key.begin(), key.end());
    seed.push_back({});
    for (std::size_t at = 0; at < secret_.size(); at += sizeof(Sha256)) {
        seed.back() = static_cast<std::byte>(at);
        std::ranges::copy(sha256(seed), secret_.begin() + static_cast<std::ptrdiff_t>(at));
    }
    const std::array<std::byte, kPageBytes> zeros{};
    zeros_ = of(zeros);
}

std::uint64_t PageTagger::of(std::span<const std::byte> page) const {
    return XXH3_64bits_withSecret(page.data(), page.size(), secret_.data(), secret_.size());
}

LineTags PageTagger::of_lines(std::span<const std::byte> page) const {
    LineTags tags{};
    for (std::size_t line = 0; line < kPageLines; ++line)
        tags[line] = XXH3_64bits_withSecret(page.data() + line * kLineBytes, kLineBytes, secret_.data(),
                                            secret_.size());
    return tags;
}

}  // namespace dupengine::codec
