#include "layout/block_graph.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/fd.h"

namespace dupengine::layout {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSysfsSector =
    512;  // "start" and "size" count these, whatever the device's sectors are

std::uint64_t number_in(const std::string& text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// The names in a folder of sysfs; none if it is not there.
std::vector<std::string> names_in(const std::string& folder) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
        names.push_back(entry->path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

std::string without_line_end(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\0'))
        text.pop_back();
    return text;
}

}  // namespace

std::optional<std::string> read_if_there(const std::string& path) {
    try {
        return read_file(path, Code::kInternal);
    } catch (const Error&) {
        return std::nullopt;
    }
}

std::optional<DeviceNumber> parse_device_number(const std::string& text) {
    unsigned major_number = 0, minor_number = 0;
    const char* end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, major_number);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') return std::nullopt;
    if (std::from_chars(first.ptr + 1, end, minor_number).ec != std::errc()) return std::nullopt;
    return makedev(major_number, minor_number);
}

BlockGraph::BlockGraph(const SystemRoots& roots) : roots_(roots) {
    std::error_code error;
    if (!fs::is_directory(roots_.sys + "/dev/block", error))
        throw_error(Code::kUnsupported,
                    "{}/dev/block: is not there, so nobody can tell who uses a disk; mount sysfs on {}",
                    roots_.sys, roots_.sys);
    read_loops();
}

std::string BlockGraph::folder(DeviceNumber device) const {
    return fmt::format("{}/dev/block/{}:{}", roots_.sys, major(device), minor(device));
}

bool BlockGraph::knows(DeviceNumber device) const {
    std::error_code error;
    return fs::exists(folder(device), error);
}

std::string BlockGraph::attribute(DeviceNumber device, const std::string& name) const {
    return without_line_end(read_if_there(folder(device) + "/" + name).value_or(""));
}

std::string BlockGraph::kernel_name(DeviceNumber device) const {
    std::error_code error;
    std::string name = fs::canonical(folder(device), error).filename().string();
    if (error) return fmt::format("{}:{}", major(device), minor(device));
    std::replace(name.begin(), name.end(), '!', '/');  // a file name cannot hold the slash of "cciss/c0d0"
    return name;
}

std::string BlockGraph::node(DeviceNumber device) const {
    return "/dev/" + kernel_name(device);
}

std::optional<DeviceNumber> BlockGraph::whole_disk(DeviceNumber device) const {
    if (attribute(device, "partition").empty()) return std::nullopt;
    return parse_device_number(attribute(device, "../dev"));
}

block::Extent BlockGraph::extent_on_disk(DeviceNumber device) const {
    // A number that no device can have would be the kernel's mistake: throw rather than wrap.
    const std::uint64_t start =
        checked_mul(number_in(attribute(device, "start")), kSysfsSector, "start in sysfs");
    const std::uint64_t size =
        checked_mul(number_in(attribute(device, "size")), kSysfsSector, "size in sysfs");
    return {start, checked_add(start, size, "end in sysfs")};
}

std::vector<DeviceNumber> BlockGraph::partitions(DeviceNumber disk) const {
    std::vector<DeviceNumber> found;
    for (const std::string& name : names_in(folder(disk))) {
        if (attribute(disk, name + "/partition").empty()) continue;
        if (const auto number = parse_device_number(attribute(disk, name + "/dev"))) found.push_back(*number);
    }
    return found;
}

std::vector<DeviceNumber> BlockGraph::listed(DeviceNumber device, const char* folder_name) const {
    std::vector<DeviceNumber> found;
    for (const std::string& name : names_in(folder(device) + "/" + folder_name))
        if (const auto number = device_named(name)) found.push_back(*number);
    return found;
}

std::vector<DeviceNumber> BlockGraph::holders(DeviceNumber device) const {
    return listed(device, "holders");
}
std::vector<DeviceNumber> BlockGraph::slaves(DeviceNumber device) const {
    return listed(device, "slaves");
}

std::vector<DeviceNumber> BlockGraph::mapped_devices() const {
    std::vector<DeviceNumber> found;
    for (const std::string& name : names_in(roots_.sys + "/block"))
        if (const auto number = device_named(name); number && !attribute(*number, "dm/name").empty())
            found.push_back(*number);
    return found;
}

std::optional<DeviceNumber> BlockGraph::device_named(const std::string& kernel_name) const {
    std::string name = kernel_name;
    std::replace(name.begin(), name.end(), '/', '!');
    const auto text = read_if_there(fmt::format("{}/class/block/{}/dev", roots_.sys, name));
    return text ? parse_device_number(*text) : std::nullopt;
}

const LoopBinding* BlockGraph::loop(DeviceNumber device) const {
    const auto found =
        std::find_if(loops_.begin(), loops_.end(), [&](const auto& l) { return l.device == device; });
    return found == loops_.end() ? nullptr : &*found;
}

void BlockGraph::read_loops() {
    for (const std::string& name : names_in(roots_.sys + "/block")) {
        std::error_code error;
        if (!fs::exists(fmt::format("{}/block/{}/loop/backing_file", roots_.sys, name), error)) continue;
        const auto device = device_named(name);
        if (!device) continue;
        if (auto binding = read_loop(*device)) loops_.push_back(std::move(*binding));
    }
}

std::optional<LoopBinding> BlockGraph::read_loop(DeviceNumber device) const {
    LoopBinding binding;
    binding.device = device;
    binding.backing_name = attribute(device, "loop/backing_file");
    if (binding.backing_name.empty()) return std::nullopt;  // detached in between
    binding.leaves_by_itself = attribute(device, "loop/autoclear") == "1";
    const std::uint64_t offset = number_in(attribute(device, "loop/offset"));
    binding.range = {offset, checked_add(offset, extent_on_disk(device).size(), "end of a loop device")};
    if (!ask_loop(binding)) guess_backing(binding);
    return binding;
}

// The kernel knows the file by its inode, so a deleted name or one of another mount namespace hides nothing.
bool BlockGraph::ask_loop(LoopBinding& binding) const {
    Fd fd;
    try {
        fd =
            open_path(roots_.dev + "/" + kernel_name(binding.device), O_RDONLY | O_NONBLOCK, Code::kInternal);
    } catch (const Error&) {
        return false;
    }
    struct stat st {};
    struct loop_info64 info {};
    if (::fstat(fd.get(), &st) != 0 || !S_ISBLK(st.st_mode) || st.st_rdev != binding.device) return false;
    if (::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0) return false;
    // drivers/block/loop.c, loop_get_status: lo_device is the filesystem that the file (or device node) lies
    // on, lo_rdevice what a node stands for; 0 for a file.
    if (info.lo_rdevice != 0) {
        binding.backing = block::PathIdentity{true, info.lo_rdevice, 0};
    } else {
        binding.backing = block::PathIdentity{false, info.lo_device, info.lo_inode};
        binding.filesystem = info.lo_device;
    }
    return true;
}

// Without the right to open the loop device there is only the name that it was bound by.
void BlockGraph::guess_backing(LoopBinding& binding) const {
    struct stat st {};
    if (::stat(binding.backing_name.c_str(), &st) != 0) {
        const std::string_view prefix = "/dev/";
        if (!binding.backing_name.starts_with(prefix)) return;
        if (const auto device = device_named(binding.backing_name.substr(prefix.size())))
            binding.backing = block::PathIdentity{true, *device, 0};
        return;
    }
    if (S_ISBLK(st.st_mode)) {
        binding.backing = block::PathIdentity{true, st.st_rdev, 0};
    } else if (S_ISREG(st.st_mode)) {
        binding.backing = block::PathIdentity{false, st.st_dev, st.st_ino};
        binding.filesystem = st.st_dev;
    }
}

}  // namespace dupengine::layout
