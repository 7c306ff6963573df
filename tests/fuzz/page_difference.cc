// Groups of page differences as a hostile sender may make them. An input is a byte of flags, the number of
// pages of the memory, then the group.
//   flags 1: the magic and the version are right
//         2: and the numbers of words in the header are those that the entries name

#include "codec/page_difference.h"

#include <algorithm>
#include <bit>

#include "base/random.h"
#include "tests/fuzz/fuzz_disk.h"

namespace dupengine::fuzz {
namespace {

using namespace dupengine::codec;

constexpr unsigned kOurs = 1, kCounted = 2;

void count_words(std::span<std::byte> group) {
    std::uint32_t sent = 0, zero = 0;
    const std::size_t pages = std::min<std::size_t>(load_le<std::uint32_t>(group, 12), kMaxGroupPages);
    for (std::size_t i = 0; i < pages; ++i) {
        const std::size_t at = kGroupHeaderBytes + i * kGroupEntryBytes;
        if (at + kGroupEntryBytes > group.size()) return;
        std::uint32_t words = 0;
        for (std::size_t part = 0; part < 64; part += 8)
            words += static_cast<std::uint32_t>(std::popcount(load_le<std::uint64_t>(group, at + 8 + part)));
        (load_le<std::uint64_t>(group, at) >> 63 != 0 ? zero : sent) += words;
    }
    store_le<std::uint32_t>(group, 16, sent);
    store_le<std::uint32_t>(group, 20, zero);
}

// Each way gives the same memory and the same group, and back again.
void check_swaps(const Bytes& held, const Bytes& memory) {
    Bytes applied, swapped;
    for (const PagePath path : page_paths()) {
        Bytes group = held, pages = memory;
        swap_group(group, pages, path);
        require(applied.empty() || (applied == pages && swapped == group), "all ways give the same bytes");
        applied = pages;
        swapped = group;
        swap_group(group, pages, path);
        require(group == held && pages == memory, "applying again takes it back");
    }
}

void run(std::span<const std::byte> input) {
    const unsigned flags = load_le<std::uint8_t>(input, 0);
    Bytes memory(load_le<std::uint8_t>(input, 1) * kPageBytes);
    SeededRandom(1).fill(memory);
    Bytes sent(input.begin() + 2, input.end());
    if (sent.size() >= kGroupHeaderBytes) {
        Bytes room(kMinGroupRoom);
        if ((flags & kOurs) != 0) std::ranges::copy(GroupWriter(room).finish().first(12), sent.begin());
        if ((flags & kCounted) != 0) count_words(sent);
    }
    Bytes held, untouched = memory;
    try {
        const GroupSize size = group_size(sent);
        require(size.held_bytes <= kMaxGroupBytes, "no group is larger than allowed");
        sent.resize(size.sent_bytes);  // the words need not be in the input
        held = hold_group(sent);
        Bytes group = held;
        swap_group(group, untouched);
    } catch (const Error&) {
        require(untouched == memory, "what is refused touches nothing");
        return;
    }
    check_swaps(held, memory);
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size > 1) dupengine::fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}
