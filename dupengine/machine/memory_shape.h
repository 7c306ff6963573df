#pragma once
// The memory of a running machine as it is sent: pages that are numbered, in groups of differences
// (codec/page_difference.h). At first all of them are zeros at the target. Behind the pages that memory has
// stands what makes an image of them that a kernel takes:
//
//     0 .. span_pages        memory: page n has the physical address n * kPageBytes
//     span_pages             ImageEnd
//     span_pages + 1 ..      the image's own pages, as /dev/snapshot gives them first (snapshot_layout.h)
//
// So the image is its own pages, and then those of memory that these name, in their order. Whether the target
// has all of it right is told by the tags of those pages (codec/page_tag.h), digested in that order.

#include <cstdint>

#include "codec/digest.h"
#include "codec/page_path.h"
#include "codec/page_tag.h"

namespace dupengine::machine {

struct MemoryShape {
    std::uint64_t span_pages = 0;  ///< up to the last page of memory
    std::uint64_t ram_pages = 0;   ///< that are memory
    codec::PageTagger::Key key{};

    std::uint64_t end_page() const { return span_pages; }
    std::uint64_t first_image_page() const { return span_pages + 1; }
    /// A bound for all page numbers. Images of another layout than we know travel whole, behind memory.
    std::uint64_t total_pages() const { return span_pages + 1 + 2 + ram_pages + ram_pages / 512; }
    bool operator==(const MemoryShape&) const = default;
};

/// What stands on end_page(): at its beginning; the rest is zeros.
struct ImageEnd {
    std::uint64_t own_pages = 0;     ///< of the image
    std::uint64_t memory_pages = 0;  ///< that follow them
    codec::Sha256 tags{};            ///< SHA-256 over the tags of all of them, 8 bytes each, little-endian
};

void store(const ImageEnd& end, std::span<std::byte> page);
/// Throws kPeer if it is none.
ImageEnd load_image_end(std::span<const std::byte> page);

}  // namespace dupengine::machine
