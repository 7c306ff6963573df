#include "tests/support/fake_memory.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>

#include <cstring>
#include <filesystem>

#include "base/copy_bytes.h"
#include "codec/page_path.h"

namespace dupengine::test {
namespace {

using codec::kPageBytes;

constexpr std::uint64_t kDirectMap = 0xffff888000000000, kText = 0xffffffff81000000;
// Where page n stands in the file; the segments of both ranges are there.
constexpr std::uint64_t kDataAt = 4 * kPageBytes;

ByteOffset place_of(std::uint64_t page) {
    return kDataAt + page * kPageBytes;
}

Elf64_Phdr segment(std::uint64_t begin, std::uint64_t end, std::uint64_t virtual_base) {
    Elf64_Phdr s{};
    s.p_type = PT_LOAD;
    s.p_offset = place_of(begin);
    s.p_paddr = begin * kPageBytes;
    s.p_vaddr = virtual_base + s.p_paddr;
    s.p_filesz = s.p_memsz = (end - begin) * kPageBytes;
    return s;
}

}  // namespace

FakeMemory::FakeMemory() {
    std::filesystem::create_directories(proc());
    kcore_ = open_path(proc() + "/kcore", O_RDWR | O_CREAT, Code::kInternal);
    flags_ = open_path(proc() + "/kpageflags", O_RDWR | O_CREAT, Code::kInternal);
    // What is no memory comes between: notes, the kernel's text (an alias of memory), virtual maps.
    Elf64_Phdr note{}, map = segment(5000, 9000, kDirectMap);
    note.p_type = PT_NOTE;
    map.p_paddr = ~std::uint64_t{0};
    const std::array segments{note, segment(kFirst, 100, kText), map, segment(kSecond, kEnd, kDirectMap),
                              segment(kFirst, kHole, kDirectMap)};
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = segments.size();
    pwrite_exact(kcore_.get(), 0, std::as_bytes(std::span(&header, 1)), Code::kInternal, "kcore");
    pwrite_exact(kcore_.get(), sizeof header, std::as_bytes(std::span(segments)), Code::kInternal, "kcore");
    std::filesystem::resize_file(proc() + "/kcore", place_of(kEnd));
    // A program's.
    const std::vector<std::uint64_t> flags(kEnd, std::uint64_t{1} << KPF_LRU | std::uint64_t{1} << KPF_ANON);
    pwrite_exact(flags_.get(), 0, std::as_bytes(std::span(flags)), Code::kInternal, "kpageflags");
}

void FakeMemory::put(std::uint64_t page, std::span<const std::byte> bytes) {
    pwrite_exact(kcore_.get(), place_of(page), bytes, Code::kInternal, "kcore");
}

Bytes FakeMemory::get(std::uint64_t page) const {
    Bytes bytes(kPageBytes);
    pread_exact(kcore_.get(), place_of(page), bytes, Code::kInternal, "kcore");
    return bytes;
}

void FakeMemory::set_flags(std::uint64_t page, std::uint64_t flags) {
    pwrite_exact(flags_.get(), page * 8, std::as_bytes(std::span(&flags, 1)), Code::kInternal, "kpageflags");
}

void FakeMemory::fill(RandomSource& random) {
    Bytes bytes(kPageBytes);
    for (std::uint64_t page = 0; page < kEnd; ++page) {
        if (!is_memory(page) || page % 4 == 0) continue;
        random.fill(bytes);
        put(page, bytes);
    }
}

void FakeMemory::scribble(std::uint64_t page, std::uint64_t value) {
    Bytes bytes = get(page);
    for (std::size_t at = page % 8 * 8; at < kPageBytes; at += 512)
        store_le<std::uint64_t>(bytes, at, value + at);
    put(page, bytes);
}

std::vector<Bytes> FakeMemory::image(bool marks_zeros) const {
    std::vector<std::uint64_t> flags(kEnd), entries;
    pread_exact(flags_.get(), 0, std::as_writable_bytes(std::span(flags)), Code::kInternal, "kpageflags");
    std::vector<Bytes> data;
    for (std::uint64_t page = 0; page < kEnd; ++page) {
        if (!is_memory(page) || (flags[page] >> KPF_BUDDY & 1) != 0) continue;
        Bytes bytes = get(page);
        const bool is_marked = marks_zeros && is_zero(bytes);
        entries.push_back(is_marked ? page | std::uint64_t{1} << 63 : page);
        if (!is_marked) data.push_back(std::move(bytes));
    }
    const std::size_t count = entries.size();
    entries.push_back(~std::uint64_t{0});
    const std::size_t number_pages = (count * 8 + kPageBytes - 1) / kPageBytes;
    Bytes numbers(number_pages * kPageBytes);
    const auto packed = std::as_bytes(std::span(entries));
    copy_bytes(packed.first(std::min(packed.size(), numbers.size())), numbers);
    Bytes header(kPageBytes);
    const std::uint64_t pages = 1 + number_pages + data.size();
    store_le<std::uint64_t>(header, 400, kEnd);
    store_le<std::uint64_t>(header, 416, data.size());
    store_le<std::uint64_t>(header, 424, pages);
    store_le<std::uint64_t>(header, 432, pages * kPageBytes);
    std::vector<Bytes> image{std::move(header)};
    for (std::size_t i = 0; i < number_pages; ++i)
        image.emplace_back(numbers.begin() + static_cast<std::ptrdiff_t>(i * kPageBytes),
                           numbers.begin() + static_cast<std::ptrdiff_t>((i + 1) * kPageBytes));
    for (Bytes& bytes : data)
        image.push_back(std::move(bytes));
    return image;
}

bool FakeSnapshot::create() {
    image_ = memory_.image();
    next_ = 0;
    return true;
}

bool FakeSnapshot::next_page(std::span<std::byte> page) {
    if (next_ == image_.size()) return false;
    copy_bytes(image_[next_++], page);
    return true;
}

}  // namespace dupengine::test
