#include "machine/memory_passes.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/copy_bytes.h"
#include "machine/snapshot_layout.h"

namespace dupengine::machine {
namespace {

using codec::GroupWriter;
using codec::kPageBytes;

// Read at once, between two looks.
constexpr std::uint64_t kReadPages = 256;
constexpr std::array<std::byte, kPageBytes> kZeros{};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

MemoryPasses::MemoryPasses(const PhysicalMemory& memory, const codec::PageTagger::Key& key,
                           std::uint64_t most_kept)
    : memory_(memory),
      shape_{memory.span_pages(), memory.ram_pages(), key},
      tagger_(key),
      tags_(memory.span_pages(), tagger_.of_zeros()),
      kept_(most_kept),
      buffer_(kReadPages * kPageBytes) {}

void MemoryPasses::begin_pass() {
    ++passes_;
    report_ = {};
    range_ = 0;
    at_ = memory_.ranges().front().begin;
    in_use_.clear();
    next_in_use_ = 0;
    read_ = {};
    looked_to_ = 0;
}

// The next pages in use, at most kReadPages; read_ is empty at the end of memory.
void MemoryPasses::read_ahead() {
    while (next_in_use_ == in_use_.size()) {
        const auto& ranges = memory_.ranges();
        while (range_ < ranges.size() && at_ == ranges[range_].end)
            if (++range_ < ranges.size()) at_ = ranges[range_].begin;
        if (range_ == ranges.size()) {
            read_ = {};
            looked_to_ = 0;
            return;
        }
        const std::uint64_t end = std::min(at_ + PhysicalMemory::kMostAtOnce, ranges[range_].end);
        in_use_ = memory_.in_use({at_, end});
        next_in_use_ = 0;
        at_ = end;
    }
    has_records_ = in_use_[next_in_use_].has_records;
    PageRange& part = in_use_[next_in_use_].pages;
    read_ = {part.begin, std::min(part.begin + kReadPages, part.end)};
    looked_to_ = read_.begin;
    memory_.read(read_, std::span(buffer_).first(read_.size() * kPageBytes));
    part.begin = read_.end;
    if (part.size() == 0) ++next_in_use_;
}

GroupWriter::Added MemoryPasses::send(GroupWriter& writer, std::uint64_t number,
                                      std::span<const std::byte> page, bool was_zeros) {
    const codec::LineTags* before = kept_.find(number);
    if (before == nullptr && was_zeros) return writer.add(number, kZeros, page);
    if (before == nullptr) return writer.add_whole(number, page);
    const codec::LineTags now = tagger_.of_lines(page);
    std::uint64_t changed = 0;
    for (std::size_t line = 0; line < now.size(); ++line)
        changed |= std::uint64_t{now[line] != (*before)[line]} << line;
    const auto added = writer.add_lines(number, changed, page);
    if (added == GroupWriter::Added::kAdded) kept_.keep(number, now);
    return added;
}

// What changed between two passes will change again; and so will tables of records, though not each page of
// them in each pass. They leave room.
bool MemoryPasses::will_change_in_lines() const {
    return passes_ > 1 || (has_records_ && kept_.count() < kept_.most() / 2);
}

std::span<const std::byte> MemoryPasses::next(std::span<std::byte> room) {
    const double began = now();
    GroupWriter writer(room);
    for (;;) {
        if (looked_to_ == read_.end) {
            read_ahead();
            if (read_.size() == 0) break;
        }
        const std::uint64_t number = looked_to_;
        const auto page =
            std::span<const std::byte>(buffer_).subspan((number - read_.begin) * kPageBytes, kPageBytes);
        const std::uint64_t tag = tagger_.of(page);
        if (tag != tags_[number]) {
            const bool was_zeros = tags_[number] == tagger_.of_zeros();
            if (send(writer, number, page, was_zeros) == GroupWriter::Added::kFull) break;
            tags_[number] = tag;
            ++report_.pages_sent;
            if (will_change_in_lines() && kept_.find(number) == nullptr)
                kept_.keep(number, tagger_.of_lines(page));
        }
        ++report_.pages_looked_at;
        ++looked_to_;
    }
    report_.seconds += now() - began;
    if (writer.pages() == 0) return {};
    const auto group = writer.finish();
    report_.bytes_sent += group.size();
    return group;
}

std::span<std::byte> MemoryPasses::copy_room() {
    return copies_->page(copied_);
}

// The page in copy_room() stays.
void MemoryPasses::take_own_page() {
    const std::uint64_t number = shape_.first_image_page() + copied_;
    if (number >= shape_.total_pages())
        throw_error(Code::kUnsupported, "this kernel's snapshot is larger than its memory");
    image_tags_.push_back(tagger_.of(copy_room()));
    different_.push_back({number, copied_++});
}

// The header and the numbers. False if they are not what is known here: then they are all that was read yet.
bool MemoryPasses::take_own_pages(const NextImagePage& next_page) {
    const auto take = [&] {
        if (!next_page(copy_room()))
            throw_error(Code::kUnsupported, "this kernel's snapshot ends before it begins");
        take_own_page();
    };
    take();
    try {
        const SnapshotHeader header = read_snapshot_header(copies_->page(0));
        if (header.number_pages > shape_.ram_pages / 512 + 1) return false;
        for (std::uint64_t i = 0; i < header.number_pages; ++i)
            take();
        numbers_ = read_frame_numbers(copies_->all().subspan(kPageBytes, header.number_pages * kPageBytes),
                                      header, shape_.span_pages);
    } catch (const Error&) {
        return false;
    }
    return true;
}

// As it comes: nothing of it is known to the target.
void MemoryPasses::take_whole(const NextImagePage& next_page) {
    image_.is_whole = true;
    while (next_page(copy_room()))
        take_own_page();
    end_image(copied_, 0);
}

std::vector<std::span<const std::byte>> MemoryPasses::rooms() const {
    return {std::as_bytes(std::span(tags_)), std::span(buffer_), kept_.room()};
}

void MemoryPasses::take_image(const NextImagePage& next_page, const PageNumbers& dead) {
    image_ = {};
    copied_ = next_different_ = 0;
    for (auto* list : {&numbers_, &image_tags_})
        list->clear();
    different_.clear();
    // Every page could differ; what does not costs nothing. One is left for the page that is read and not
    // kept, one for the end.
    copies_.emplace(shape_.total_pages() - shape_.span_pages + 2);
    if (!take_own_pages(next_page)) return take_whole(next_page);
    const std::uint64_t own_pages = copied_;
    PagesAhead pages(next_page);
    for (const std::uint64_t number : numbers_) {
        const auto page = pages.next();
        if (page.empty()) throw_error(Code::kUnsupported, "this kernel's snapshot ends too early");
        if (std::ranges::binary_search(dead, number)) {
            image_tags_.push_back(tags_[number]);
            ++image_.pages_dead;
            continue;
        }
        const std::uint64_t tag = tagger_.of(page);
        image_tags_.push_back(tag);
        if (tag == tags_[number]) {
            ++image_.pages_known;
            continue;
        }
        const bool was_zeros = std::exchange(tags_[number], tag) == tagger_.of_zeros();
        copy_bytes(page, copy_room());
        different_.push_back({number, copied_++, was_zeros});
    }
    end_image(own_pages, numbers_.size());
}

void MemoryPasses::end_image(std::uint64_t own_pages, std::uint64_t memory_pages) {
    image_.pages = own_pages + memory_pages;
    ImageEnd end{own_pages, memory_pages,
                 codec::sha256(std::as_bytes(std::span(image_tags_)))};  // on machines that are little-endian
    store(end, copy_room());
    different_.push_back({shape_.end_page(), copied_++});
    std::ranges::sort(different_, {}, &Different::number);
}

std::span<const std::byte> MemoryPasses::next_of_image(std::span<std::byte> room) {
    GroupWriter writer(room);
    for (; next_different_ < different_.size(); ++next_different_) {
        const Different& next = different_[next_different_];
        if (send(writer, next.number, copies_->page(next.place), next.was_zeros) == GroupWriter::Added::kFull)
            break;
    }
    if (writer.pages() == 0) return {};
    const auto group = writer.finish();
    image_.bytes_sent += group.size();
    return group;
}

}  // namespace dupengine::machine
