#include "machine/received_memory.h"

#include "base/copy_bytes.h"
#include "codec/page_difference.h"
#include "machine/snapshot_layout.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

// 64 TiB: more than any machine whose memory somebody would send.
constexpr std::uint64_t kMostPages = std::uint64_t{1} << 34;

const MemoryShape& checked(const MemoryShape& shape) {
    if (shape.span_pages == 0 || shape.span_pages > kMostPages || shape.ram_pages > shape.span_pages)
        throw_error(Code::kPeer, "the other end has a memory that cannot be ({} pages of {})",
                    shape.ram_pages, shape.span_pages);
    return shape;
}

}  // namespace

ReceivedMemory::ReceivedMemory(const MemoryShape& shape)
    : shape_(checked(shape)), tagger_(shape.key), room_(shape_.total_pages()) {}

void ReceivedMemory::apply(std::span<const std::byte> group) {
    Bytes held = codec::hold_group(group);
    codec::swap_group(held, room_.all());
}

void ReceivedMemory::check() {
    const ImageEnd end = load_image_end(room_.page(shape_.end_page()));
    const std::uint64_t first = shape_.first_image_page();
    if (end.own_pages == 0 || end.own_pages > shape_.total_pages() - first ||
        end.memory_pages > shape_.ram_pages)
        throw_error(Code::kPeer, "the other end's image has a size that cannot be");
    image_.clear();
    for (std::uint64_t i = 0; i < end.own_pages; ++i)
        image_.push_back(first + i);
    if (end.memory_pages > 0) {
        const SnapshotHeader header = read_snapshot_header(room_.page(first));
        const auto numbers = read_frame_numbers(
            room_.all().subspan((first + 1) * kPageBytes, (end.own_pages - 1) * kPageBytes), header,
            shape_.span_pages);
        if (numbers.size() != end.memory_pages)
            throw_error(Code::kPeer, "the other end's image is not the one that it speaks of");
        image_.insert(image_.end(), numbers.begin(), numbers.end());
    }
    std::vector<std::uint64_t> tags;
    tags.reserve(image_.size());
    for (const std::uint64_t number : image_)
        tags.push_back(tagger_.of(room_.page(number)));
    if (codec::sha256(std::as_bytes(std::span(tags))) != end.tags)
        throw_error(Code::kIntegrity, "the memory that came is not what the other end's was");
}

bool ReceivedMemory::next_page(std::span<std::byte> page) {
    if (next_ == image_.size()) return false;
    const std::uint64_t number = image_[next_++];
    copy_bytes(room_.page(number), page);
    room_.forget(number, 1);
    return true;
}

}  // namespace dupengine::machine
