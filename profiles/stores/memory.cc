#include "profiles/stores/memory.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <optional>

#include "base/fd.h"
#include "block/in_place.h"
#include "profiles/names.h"

namespace dupengine::profiles {
namespace {

using block::Extent;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::size_t kMapLimit = 4 * kMiB;

struct Mapped {
    Extent range;
    std::string name;
    bool is_inner = false;  // inside another one
};

std::optional<std::uint64_t> hexadecimal(std::string_view text) {
    if (text.starts_with("0x")) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// The maps name the last byte. Empty for one that cannot be.
std::optional<Extent> inclusive(std::string_view first, std::string_view last) {
    const auto begin = hexadecimal(first), end = hexadecimal(last);
    if (!begin || !end || *end < *begin) return std::nullopt;
    constexpr auto kTop = std::numeric_limits<std::uint64_t>::max();
    return Extent{*begin, *end == kTop ? kTop : *end + 1};
}

// "  18000000-181fffff : Reserved"; what lies inside another range is indented (kernel/resource.c).
std::vector<Mapped> read_kernel_map(const std::string& path) {
    const std::string text = read_file(path, Code::kRefused, kMapLimit);
    std::vector<Mapped> map;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        std::string_view line = std::string_view(text).substr(begin, end - begin);
        begin = end + 1;
        const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
        line.remove_prefix(indent);
        const std::size_t dash = line.find('-'), colon = line.find(" : ");
        if (dash == std::string_view::npos || colon == std::string_view::npos || colon < dash)
            throw_error(Code::kRefused, "{}: a line of it cannot be understood", path);
        const auto range = inclusive(line.substr(0, dash), line.substr(dash + 1, colon - dash - 1));
        if (!range) throw_error(Code::kRefused, "{}: a line of it cannot be understood", path);
        map.push_back({*range, std::string(line.substr(colon + 3)), indent > 0});
    }
    // Who may not see addresses gets zeros, which say nothing about any of them.
    if (std::none_of(map.begin(), map.end(), [](const Mapped& one) { return one.range.begin != 0; }))
        throw_error(Code::kRefused, "{}: shows no addresses (root is needed)", path);
    return map;
}

std::string attribute(const std::string& path) {
    std::string text = read_file(path, Code::kRefused, 4096);
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

block::ExtentSet firmware_memory(const std::string& folder) {
    block::ExtentSet memory;
    std::error_code error;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error)) {
        const std::string entry = at->path().string();
        const auto range = inclusive(attribute(entry + "/start"), attribute(entry + "/end"));
        if (!range) throw_error(Code::kRefused, "{}: cannot be understood", entry);
        if (attribute(entry + "/type") == "System RAM") memory.insert(*range);
    }
    if (memory.empty())
        throw_error(Code::kRefused,
                    "{}: this kernel does not tell the firmware's memory map, so nobody can say whose memory "
                    "this is",
                    folder);
    return memory;
}

std::string shown(Extent range) {
    return fmt::format("memory {:#x}-{:#x}", range.begin, range.end - 1);
}

class MemoryStore final : public ProfileStore {
  public:
    MemoryStore(const std::string& address, MemoryPaths paths)
        : name_("memory:" + address), range_(parse_memory_address(address)), paths_(std::move(paths)) {}
    const std::string& name() const override { return name_; }
    Slots look() const override {
        check_memory_range(range_, paths_);
        return read_slots(*block::open_memory(paths_.memory, range_, name_), {0, range_.size()});
    }
    void write(const StoredProfile& next) override {
        check_memory_range(range_, paths_);
        const auto target = block::open_memory_in_place(paths_.memory, range_, name_);
        write_slot(*target, {0, range_.size()}, next);
    }

  private:
    std::string name_;
    Extent range_;
    MemoryPaths paths_;
};

}  // namespace

Extent parse_memory_address(const std::string& address) {
    const auto begin = address.starts_with("0x") ? hexadecimal(address) : std::nullopt;
    if (!begin || *begin % kPageBytes != 0 || *begin > (std::uint64_t{1} << 52))
        throw_error(Code::kUsage,
                    "{} is no address of a profile store in memory; as memmap=2M$0x18000000 has it, "
                    "hexadecimal and a multiple of 0x1000",
                    profiles::quoted(address));
    return {*begin, *begin + kStoreMinimumBytes};
}

void check_memory_range(Extent range, const MemoryPaths& paths) {
    block::ExtentSet reserved;
    for (const Mapped& one : read_kernel_map(paths.kernel_map)) {
        if (!one.range.touches(range)) continue;
        if (one.is_inner || one.name != "Reserved")
            throw_error(Code::kRefused,
                        "{}: {} of it is {}; the kernel leaves a range alone that its command line names "
                        "(memmap=2M${:#x})",
                        shown(range), shown(one.range.clipped_to(range)), profiles::quoted(one.name),
                        range.begin);
        reserved.insert(one.range);
    }
    if (!reserved.contains(range))
        throw_error(Code::kRefused, "{}: is no memory that the kernel leaves alone (memmap=2M${:#x})",
                    shown(range), range.begin);
    if (!firmware_memory(paths.firmware_map).contains(range))
        throw_error(Code::kRefused,
                    "{}: is reserved by the firmware and not by the kernel's command line; it is not ours to "
                    "write",
                    shown(range));
}

std::unique_ptr<ProfileStore> memory_store(const std::string& address, MemoryPaths paths) {
    return std::make_unique<MemoryStore>(address, std::move(paths));
}

void check_new_memory_store(const std::string& address, const MemoryPaths& paths) {
    const auto store = memory_store(address, paths);
    check_replaceable(store->look(), store->name(), true);
}

void init_memory_store(const std::string& address, const StoredProfile& first, const MemoryPaths& paths) {
    const Extent range = parse_memory_address(address);
    check_new_memory_store(address, paths);
    const auto target = block::open_memory_in_place(paths.memory, range, "memory:" + address);
    const Extent whole{0, range.size()};
    // Once more, now that nobody else can change it.
    check_replaceable(read_slots(*target, whole), target->name(), true);
    target->zero(whole, block::Device::Zeroing::kAllocate);
    write_slot(*target, whole, first);
}

}  // namespace dupengine::profiles
