#pragma once
// What /dev/snapshot gives, as far as it has to be understood: a header page, pages of page frame numbers,
// and then the pages of memory that these name, in that order (Linux: kernel/power/power.h swsusp_info,
// kernel/power/snapshot.c pack_pfns; from 6.7 on pages of zeros are marked among the numbers, and left out
// of the data). The kernel that takes an image checks more than this.
//
// Pure.

#include <cstdint>
#include <span>
#include <vector>

namespace dupengine::machine {

struct SnapshotHeader {
    std::uint64_t memory_pages = 0;  ///< pages of memory in the image
    std::uint64_t number_pages = 0;  ///< pages that hold their numbers
};

/// What the first page says. Throws kUnsupported for a layout that is not known.
SnapshotHeader read_snapshot_header(std::span<const std::byte> page);

/// The frame numbers of the pages that follow, ascending, from the pages behind the header. Throws
/// kUnsupported if they are not `header.memory_pages` different ones below `span_pages`.
std::vector<std::uint64_t> read_frame_numbers(std::span<const std::byte> pages, const SnapshotHeader& header,
                                              std::uint64_t span_pages);

}  // namespace dupengine::machine
