#include "codec/page_difference.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace dupengine::codec {
namespace {

constexpr std::size_t kWordBytes = 8;
constexpr std::size_t kBitmapBytes = kPageBytes / 64;
constexpr std::size_t kPageWords = kPageBytes / kWordBytes;
constexpr std::uint64_t kBecameZero = std::uint64_t{1} << 63;
constexpr std::uint32_t kVersion = 1;
constexpr std::string_view kMagic = "DUPPAGES";

struct Header {
    std::uint64_t pages, sent_words, zero_words;
};

Header read_header(std::span<const std::byte> bytes) {
    if (bytes.size() < kGroupHeaderBytes || as_text(bytes.first(kMagic.size())) != kMagic)
        throw_error(Code::kIntegrity, "this is no group of page differences");
    if (const auto version = load_le<std::uint32_t>(bytes, 8); version != kVersion)
        throw_error(Code::kIntegrity, "group of page differences: format {} is not known", version);
    const Header header{load_le<std::uint32_t>(bytes, 12), load_le<std::uint32_t>(bytes, 16),
                        load_le<std::uint32_t>(bytes, 20)};
    if (header.pages > kMaxGroupPages)
        throw_error(Code::kIntegrity, "group of page differences: {} pages are more than {}", header.pages,
                    kMaxGroupPages);
    if (header.sent_words + header.zero_words > header.pages * kPageWords)
        throw_error(Code::kIntegrity, "group of page differences: {} pages cannot have {} words",
                    header.pages, header.sent_words + header.zero_words);
    return header;
}

GroupSize size_of(const Header& header) {
    const std::size_t sent =
        kGroupHeaderBytes + header.pages * kGroupEntryBytes + header.sent_words * kWordBytes;
    return {sent, sent + header.zero_words * kWordBytes, header.pages};
}

// One entry of the table, in place.
struct Entry {
    std::uint64_t number;
    bool became_zero;
    std::span<const std::byte> bitmap;
    std::size_t words;
};

Entry read_entry(std::span<const std::byte> group, std::size_t index) {
    const auto bytes = group.subspan(kGroupHeaderBytes + index * kGroupEntryBytes, kGroupEntryBytes);
    const auto number = load_le<std::uint64_t>(bytes, 0);
    Entry entry{number & ~kBecameZero, (number & kBecameZero) != 0, bytes.subspan(8), 0};
    for (std::size_t at = 0; at < kBitmapBytes; at += 8)
        entry.words += static_cast<std::size_t>(std::popcount(load_le<std::uint64_t>(entry.bitmap, at)));
    return entry;
}

void check_group(std::span<const std::byte> group, const Header& header, std::size_t memory_pages) {
    if (group.size() != size_of(header).held_bytes)
        throw_error(Code::kIntegrity, "group of page differences: {} bytes instead of {}", group.size(),
                    size_of(header).held_bytes);
    std::uint64_t least_number = 0, sent_words = 0, zero_words = 0;
    for (std::size_t i = 0; i < header.pages; ++i) {
        const Entry entry = read_entry(group, i);
        if (entry.number < least_number)
            throw_error(Code::kIntegrity, "group of page differences: page {} is not in its order",
                        entry.number);
        if (entry.number >= memory_pages)
            throw_error(Code::kIntegrity, "group of page differences: page {}, of {} that there are",
                        entry.number, memory_pages);
        if (entry.words == 0)
            throw_error(Code::kIntegrity, "group of page differences: page {} does not differ", entry.number);
        least_number = entry.number + 1;
        (entry.became_zero ? zero_words : sent_words) += entry.words;
    }
    if (sent_words != header.sent_words || zero_words != header.zero_words)
        throw_error(Code::kIntegrity, "group of page differences: its pages have other words than it");
}

}  // namespace

GroupWriter::GroupWriter(std::span<std::byte> room, PagePath path) : room_(room), path_(path) {
    page_operations(path);
    if (room.size() < kMinGroupRoom)
        throw_error(Code::kInternal, "a group of page differences has no room in {} bytes", room.size());
}

void GroupWriter::check_next(std::uint64_t number, std::size_t page_bytes) const {
    if (number < least_number_ || number >= kBecameZero || page_bytes != kPageBytes)
        throw_error(Code::kInternal, "page {} of {} bytes cannot be added to a group", number, page_bytes);
}

// The table has its full size until the end, and the words begin behind it.
std::byte* GroupWriter::next_words() const {
    return room_.data() + kGroupHeaderBytes + kMaxGroupPages * kGroupEntryBytes + sent_words_ * kWordBytes;
}

std::span<std::byte> GroupWriter::next_entry() const {
    return room_.subspan(kGroupHeaderBytes + pages_ * kGroupEntryBytes, kGroupEntryBytes);
}

bool GroupWriter::is_full() const {
    const auto left = static_cast<std::size_t>(room_.data() + room_.size() - next_words());
    return pages_ == kMaxGroupPages || left < kPageBytes;
}

GroupWriter::Added GroupWriter::add(std::uint64_t number, std::span<const std::byte> before,
                                    std::span<const std::byte> after) {
    check_next(number, std::min(before.size(), after.size()));
    if (is_full()) return Added::kFull;
    const std::size_t changed =
        page_operations(path_).find(before.data(), after.data(), next_entry().data() + 8, next_words());
    return changed == 0 ? Added::kEqual : take(number, after, changed);
}

GroupWriter::Added GroupWriter::add_whole(std::uint64_t number, std::span<const std::byte> after) {
    check_next(number, after.size());
    if (is_full()) return Added::kFull;
    std::fill_n(next_entry().data() + 8, kBitmapBytes, std::byte{0xFF});
    std::memcpy(next_words(), after.data(), kPageBytes);
    return take(number, after, kPageWords);
}

GroupWriter::Added GroupWriter::add_lines(std::uint64_t number, std::uint64_t changed_lines,
                                          std::span<const std::byte> after) {
    check_next(number, after.size());
    if (changed_lines == 0) return Added::kEqual;
    if (is_full()) return Added::kFull;
    // A line is eight words: a byte of the map.
    constexpr std::size_t kLineBytes = kPageBytes / 64;
    std::byte* words = next_words();
    for (std::size_t line = 0; line < 64; ++line) {
        const bool is_changed = (changed_lines >> line & 1) != 0;
        next_entry()[8 + line] = is_changed ? std::byte{0xFF} : std::byte{0};
        if (!is_changed) continue;
        std::memcpy(words, after.data() + line * kLineBytes, kLineBytes);
        words += kLineBytes;
    }
    return take(number, after, static_cast<std::size_t>(std::popcount(changed_lines)) * 8);
}

GroupWriter::Added GroupWriter::take(std::uint64_t number, std::span<const std::byte> after,
                                     std::size_t changed) {
    const bool became_zero = is_zero(after);
    store_le<std::uint64_t>(next_entry(), 0, became_zero ? number | kBecameZero : number);
    (became_zero ? zero_words_ : sent_words_) += changed;
    ++pages_;
    least_number_ = number + 1;
    return Added::kAdded;
}

std::span<const std::byte> GroupWriter::finish() {
    const GroupSize size = size_of({pages_, sent_words_, zero_words_});
    const auto words_begin = kGroupHeaderBytes + pages_ * kGroupEntryBytes;
    std::memmove(room_.data() + words_begin,
                 room_.data() + kGroupHeaderBytes + kMaxGroupPages * kGroupEntryBytes,
                 sent_words_ * kWordBytes);
    std::memcpy(room_.data(), kMagic.data(), kMagic.size());
    store_le<std::uint32_t>(room_, 8, kVersion);
    store_le<std::uint32_t>(room_, 12, static_cast<std::uint32_t>(pages_));
    store_le<std::uint32_t>(room_, 16, static_cast<std::uint32_t>(sent_words_));
    store_le<std::uint32_t>(room_, 20, static_cast<std::uint32_t>(zero_words_));
    return room_.first(size.sent_bytes);
}

GroupSize group_size(std::span<const std::byte> header) {
    return size_of(read_header(header));
}

Bytes hold_group(std::span<const std::byte> sent) {
    const GroupSize size = group_size(sent);
    if (sent.size() != size.sent_bytes)
        throw_error(Code::kIntegrity, "group of page differences: {} bytes instead of {}", sent.size(),
                    size.sent_bytes);
    Bytes held(size.held_bytes);
    std::ranges::copy(sent, held.begin());
    return held;
}

void swap_group(std::span<std::byte> group, std::span<std::byte> memory, PagePath path) {
    const PageOperations& operations = page_operations(path);
    const Header header = read_header(group);
    check_group(group, header, memory.size() / kPageBytes);
    std::byte* sent = group.data() + kGroupHeaderBytes + header.pages * kGroupEntryBytes;
    std::byte* zero = sent + header.sent_words * kWordBytes;
    for (std::size_t i = 0; i < header.pages; ++i) {
        const Entry entry = read_entry(group, i);
        std::byte*& words = entry.became_zero ? zero : sent;
        words +=
            swap_page(operations, memory.data() + entry.number * kPageBytes, entry.bitmap.data(), words) *
            kWordBytes;
    }
}

}  // namespace dupengine::codec
