#include "machine/dead_pages.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "base/fd.h"
#include "codec/page_path.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

// What is reserved and never used can be of any size; nothing of what is passed over is lost, only sent.
constexpr std::uint64_t kMostPagesOfOne = (64ULL << 30) / kPageBytes;
constexpr std::size_t kReadEntries = 4096;

// An entry of pagemap.
constexpr std::uint64_t kNumber = (1ULL << 55) - 1, kIsExclusive = 1ULL << 56, kIsOfFileOrShared = 1ULL << 61,
                        kIsPresent = 1ULL << 63;

struct Addresses {
    std::uint64_t begin = 0, end = 0;
};

template <typename Take>
void take_entries(const Fd& pagemap, const std::string& name, Addresses addresses, Take take) {
    std::vector<std::uint64_t> entries(kReadEntries);
    for (std::uint64_t page = addresses.begin / kPageBytes; page < addresses.end / kPageBytes;) {
        const std::size_t count = std::min<std::uint64_t>(kReadEntries, addresses.end / kPageBytes - page);
        const auto part = std::span(entries).first(count);
        pread_exact(pagemap.get(), page * 8, std::as_writable_bytes(part), Code::kUnsupported, name);
        for (const std::uint64_t entry : part)
            if ((entry & kIsPresent) != 0) take(entry);
        page += count;
    }
}

// "55d0-55d8 rw-p 00000000 00:00 0": memory of its own, or a copy of what a file has. Nothing for others.
Addresses writable_private(const std::string& line) {
    Addresses found;
    const char* const end = line.data() + line.size();
    const auto first = std::from_chars(line.data(), end, found.begin, 16);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return {};
    const auto second = std::from_chars(first.ptr + 1, end, found.end, 16);
    if (second.ec != std::errc() || end - second.ptr < 5) return {};
    return second.ptr[2] == 'w' && second.ptr[4] == 'p' ? found : Addresses{};
}

PageNumbers sorted(PageNumbers numbers) {
    std::ranges::sort(numbers);
    // Without the right to see them all numbers are zero.
    if (!numbers.empty() && numbers.front() == 0)
        throw_error(Code::kUnsupported, "the kernel does not tell where pages of memory are (root)");
    return numbers;
}

}  // namespace

PageNumbers private_pages_of(pid_t process, const std::string& proc) {
    const std::string folder = fmt::format("{}/{}", proc, process), name = folder + "/pagemap";
    const Fd pagemap = open_path(name, O_RDONLY, Code::kUnsupported);
    std::ifstream maps(folder + "/maps");
    PageNumbers numbers;
    for (std::string line; std::getline(maps, line);) {
        const Addresses addresses = writable_private(line);
        if ((addresses.end - addresses.begin) / kPageBytes > kMostPagesOfOne) continue;
        take_entries(pagemap, name, addresses, [&](std::uint64_t entry) {
            if ((entry & kIsExclusive) != 0 && (entry & kIsOfFileOrShared) == 0)
                numbers.push_back(entry & kNumber);
        });
    }
    return sorted(std::move(numbers));
}

PageNumbers pages_behind(std::span<const std::byte> room, const std::string& proc) {
    const auto address = reinterpret_cast<std::uint64_t>(room.data());
    const Addresses whole{align_up(address, kPageBytes), align_down(address + room.size(), kPageBytes)};
    PageNumbers numbers;
    if (whole.begin >= whole.end) return numbers;
    const std::string name = proc + "/self/pagemap";
    const Fd pagemap = open_path(name, O_RDONLY, Code::kUnsupported);
    take_entries(pagemap, name, whole, [&](std::uint64_t entry) { numbers.push_back(entry & kNumber); });
    return sorted(std::move(numbers));
}

}  // namespace dupengine::machine
