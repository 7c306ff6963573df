#pragma once
// All memory of this machine, page by page, while it runs: /proc/kcore, an ELF file whose segments are the
// kernel's view of memory (Linux: fs/proc/kcore.c), and /proc/kpageflags, which tells what a page is used
// for (Documentation/admin-guide/mm/pagemap.rst). Reading changes nothing. A page that changes while it is
// read is read again in a later pass.
//
// Used by one thread.

#include <string>
#include <vector>

#include "base/fd.h"

namespace dupengine::machine {

/// Pages from `begin` on; `end` is the first that is none of them.
struct PageRange {
    std::uint64_t begin = 0, end = 0;
    std::uint64_t size() const { return end - begin; }
    bool operator==(const PageRange&) const = default;
};

struct PagesInUse {
    PageRange pages;
    /// Of the kernel's own: small records, of which a few change at a time.
    bool has_records = false;
    bool operator==(const PagesInUse&) const = default;
};

class PhysicalMemory {
  public:
    /// Throws kUnsupported if this kernel lets nobody read it, and why.
    explicit PhysicalMemory(const std::string& proc = "/proc");

    /// Ascending, disjoint: what is memory.
    const std::vector<PageRange>& ranges() const { return ranges_; }
    std::uint64_t ram_pages() const;
    std::uint64_t span_pages() const { return ranges_.back().end; }

    /// The parts of `range` (of one of ranges(), at most kMostAtOnce pages) that an image of this machine
    /// would hold: not what is free, and not what files have on their disks and can be read again.
    std::vector<PagesInUse> in_use(PageRange range) const;
    /// `buffer` is as long as the range, which lies in one of ranges(). Throws kSourceIo.
    void read(PageRange range, std::span<std::byte> buffer) const;

    static constexpr std::uint64_t kMostAtOnce = 4096;

  private:
    struct Segment {
        PageRange pages;
        ByteOffset place;  // in the file
    };
    Fd kcore_, flags_;
    std::vector<Segment> segments_;
    std::vector<PageRange> ranges_;
};

}  // namespace dupengine::machine
