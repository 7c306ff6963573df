#include "machine/physical_memory.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>

#include <algorithm>
#include <map>

#include "codec/page_path.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

constexpr std::size_t kMostSegments = 4096;
// Of kpageflags, for who hacks kernels (Linux: include/linux/kernel-page-flags.h, which user space has not).
constexpr unsigned kReserved = 32, kPrivate = 35;

bool has(std::uint64_t flags, unsigned bit) {
    return (flags >> bit & 1) != 0;
}

// What is dropped before an image is made, or never is in one. Pages of files that are not written yet stay,
// and so do those of memory filesystems (they are swapped, not read again).
bool is_left_out(std::uint64_t flags) {
    if (has(flags, KPF_NOPAGE) || has(flags, KPF_BUDDY) || has(flags, KPF_HWPOISON) ||
        has(flags, KPF_OFFLINE))
        return true;
    const bool is_of_a_file = has(flags, KPF_LRU) && !has(flags, KPF_ANON) && !has(flags, KPF_SWAPBACKED);
    return is_of_a_file && !has(flags, KPF_DIRTY) && !has(flags, KPF_WRITEBACK) && !has(flags, KPF_MMAP) &&
           !has(flags, KPF_UNEVICTABLE);
}

// What the kernel took since it started, and its table of pages: since memory can be added, that is marked as
// private, which else only pages of files are (Linux: mm/bootmem_info.c). Where it is not, more is sent.
bool has_records(std::uint64_t flags) {
    if (has(flags, kReserved)) return has(flags, kPrivate);
    return !has(flags, KPF_LRU) && !has(flags, KPF_ANON) && !has(flags, KPF_MMAP);
}

Elf64_Ehdr read_header(const Fd& kcore, const std::string& name) {
    Elf64_Ehdr header{};
    pread_exact(kcore.get(), 0, std::as_writable_bytes(std::span(&header, 1)), Code::kUnsupported, name);
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMostSegments)
        throw_error(Code::kUnsupported, "{}: is no image of memory that is known here", name);
    return header;
}

std::vector<Elf64_Phdr> read_segments(const Fd& kcore, const std::string& name) {
    const Elf64_Ehdr header = read_header(kcore, name);
    std::vector<Elf64_Phdr> segments(header.e_phnum);
    pread_exact(kcore.get(), header.e_phoff, std::as_writable_bytes(std::span(segments)), Code::kUnsupported,
                name);
    std::erase_if(segments, [](const Elf64_Phdr& s) {
        return s.p_type != PT_LOAD || s.p_paddr == ~std::uint64_t{0} || s.p_filesz < kPageBytes ||
               s.p_paddr % kPageBytes != 0;
    });
    return segments;
}

// Memory is in the kernel's direct map, all of it at one distance from where it is; the kernel's own code is
// there once more at another.
std::uint64_t distance_of_memory(const std::vector<Elf64_Phdr>& segments, const std::string& name) {
    std::map<std::uint64_t, std::uint64_t> bytes_at;
    for (const Elf64_Phdr& s : segments)
        bytes_at[s.p_vaddr - s.p_paddr] += s.p_filesz;
    if (bytes_at.empty()) throw_error(Code::kUnsupported, "{}: shows no memory", name);
    return std::ranges::max_element(bytes_at, {}, [](const auto& entry) { return entry.second; })->first;
}

}  // namespace

PhysicalMemory::PhysicalMemory(const std::string& proc)
    : kcore_(open_path(proc + "/kcore", O_RDONLY, Code::kUnsupported)),
      flags_(open_path(proc + "/kpageflags", O_RDONLY, Code::kUnsupported)) {
    const std::string name = proc + "/kcore";
    const std::vector<Elf64_Phdr> found = read_segments(kcore_, name);
    const std::uint64_t distance = distance_of_memory(found, name);
    for (const Elf64_Phdr& s : found)
        if (s.p_vaddr - s.p_paddr == distance)
            segments_.push_back(
                {{s.p_paddr / kPageBytes, s.p_paddr / kPageBytes + s.p_filesz / kPageBytes}, s.p_offset});
    std::ranges::sort(segments_, {}, [](const Segment& s) { return s.pages.begin; });
    for (const Segment& s : segments_) {
        if (s.pages.end < s.pages.begin || s.pages.end > std::uint64_t{1} << 40 ||
            (!ranges_.empty() && s.pages.begin < ranges_.back().end))
            throw_error(Code::kUnsupported, "{}: shows memory that overlaps", name);
        ranges_.push_back(s.pages);
    }
}

std::uint64_t PhysicalMemory::ram_pages() const {
    std::uint64_t pages = 0;
    for (const PageRange& range : ranges_)
        pages += range.size();
    return pages;
}

std::vector<PagesInUse> PhysicalMemory::in_use(PageRange range) const {
    if (range.size() > kMostAtOnce) throw_error(Code::kInternal, "{} pages at once", range.size());
    std::vector<std::uint64_t> flags(range.size());
    pread_exact(flags_.get(), range.begin * 8, std::as_writable_bytes(std::span(flags)), Code::kSourceIo,
                "/proc/kpageflags");
    std::vector<PagesInUse> found;
    for (std::uint64_t i = 0; i < range.size(); ++i) {
        if (is_left_out(flags[i])) continue;
        const std::uint64_t page = range.begin + i;
        const bool records = has_records(flags[i]);
        if (found.empty() || found.back().pages.end != page || found.back().has_records != records)
            found.push_back({{page, page}, records});
        found.back().pages.end = page + 1;
    }
    return found;
}

void PhysicalMemory::read(PageRange range, std::span<std::byte> buffer) const {
    const auto segment = std::ranges::find_if(segments_, [&](const Segment& s) {
        return s.pages.begin <= range.begin && range.end <= s.pages.end;
    });
    if (segment == segments_.end() || buffer.size() != range.size() * kPageBytes)
        throw_error(Code::kInternal, "pages {} to {} are no memory", range.begin, range.end);
    pread_exact(kcore_.get(), segment->place + (range.begin - segment->pages.begin) * kPageBytes, buffer,
                Code::kSourceIo, "/proc/kcore");
}

}  // namespace dupengine::machine
