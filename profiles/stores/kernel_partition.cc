#include "profiles/stores/kernel_partition.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/fd.h"

namespace dupengine::profiles {
namespace {

// sysfs counts partitions in units of 512 bytes, whatever the disk's sectors are (block/partitions/core.c).
constexpr std::uint64_t kSysfsUnit = 512;

std::optional<std::uint64_t> number_at(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end == text.data()) return std::nullopt;
    return value;
}

// A partition may vanish while we look: then it is none.
std::string read_attribute(const std::string& path) {
    try {
        return read_file(path, Code::kInternal, 4096);
    } catch (const Error&) {
        return {};
    }
}

std::optional<std::uint64_t> device_number(const std::string& text) {
    const auto colon = text.find(':');
    if (colon == std::string::npos) return std::nullopt;
    const auto upper = number_at(text);
    const auto lower = number_at(std::string_view(text).substr(colon + 1));
    if (!upper || !lower) return std::nullopt;
    return makedev(static_cast<unsigned>(*upper), static_cast<unsigned>(*lower));
}

}  // namespace

std::optional<KernelPartition> find_kernel_partition(std::uint64_t disk_number, block::Extent extent,
                                                     const KernelRoots& roots) {
    const std::string disk =
        fmt::format("{}/dev/block/{}:{}", roots.sys, major(disk_number), minor(disk_number));
    std::error_code error;
    for (std::filesystem::directory_iterator at(disk, error), end; !error && at != end; at.increment(error)) {
        const std::string folder = at->path().string();
        if (read_attribute(folder + "/partition").empty()) continue;
        const auto start = number_at(read_attribute(folder + "/start"));
        const auto size = number_at(read_attribute(folder + "/size"));
        if (!start || !size || extent.begin % kSysfsUnit != 0 || extent.size() % kSysfsUnit != 0) continue;
        if (*start != extent.begin / kSysfsUnit || *size != extent.size() / kSysfsUnit) continue;
        const auto number = device_number(read_attribute(folder + "/dev"));
        if (!number) continue;
        std::string name = at->path().filename().string();
        std::replace(name.begin(), name.end(), '!', '/');  // cciss!c0d0p1 is /dev/cciss/c0d0p1
        return KernelPartition{roots.dev + "/" + name, *number};
    }
    return std::nullopt;
}

std::optional<std::uint64_t> disk_of_kernel_partition(std::uint64_t partition_number,
                                                      const KernelRoots& roots) {
    const std::string folder =
        fmt::format("{}/dev/block/{}:{}", roots.sys, major(partition_number), minor(partition_number));
    if (read_attribute(folder + "/partition").empty()) return std::nullopt;
    return device_number(read_attribute(folder + "/../dev"));
}

}  // namespace dupengine::profiles
