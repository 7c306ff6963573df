#include "tests/support/lvm_disk.h"

#include <fcntl.h>

#include <sstream>

#include "base/fd.h"

namespace dupengine::test {
namespace {

using block::Extent;

constexpr std::uint64_t kExtent = 4 * kMiB;

void must_lvm(const std::string& device, std::vector<std::string> command) {
    const RunResult result = run_lvm(device, command);
    if (result.status != 0) throw_error(Code::kInternal, "{}: {}", command.front(), result.complaint());
}

// "20-29" of "/dev/loop1:20-29".
Extent place_of(const std::string& range, std::uint64_t first) {
    const std::size_t colon = range.find(':'), dash = range.find('-', colon);
    const std::uint64_t begin = std::stoull(range.substr(colon + 1)),
                        last = std::stoull(range.substr(dash + 1));
    return {first + begin * kExtent, first + (last + 1) * kExtent};
}

void put(const std::string& from, ByteOffset offset, const std::string& to, Extent place) {
    const Fd source = open_path(from, O_RDONLY, Code::kInternal),
             target = open_path(to, O_RDWR, Code::kInternal);
    Bytes bytes(place.size());
    pread_exact(source.get(), offset, bytes, Code::kInternal, from);
    pwrite_exact(target.get(), place.begin, bytes, Code::kInternal, to);
}

}  // namespace

RunResult run_lvm(const std::string& device, std::vector<std::string> command) {
    const std::string config =
        "devices{filter=[\"a|^" + device +
        "$|\",\"r|.*|\"] scan=[\"/dev\"] use_devicesfile=0 obtain_device_list_from_udev=0}"
        " backup{backup=0 archive=0} global{event_activation=0 use_lvmpolld=0}"
        " activation{udev_sync=0 udev_rules=0 monitoring=0}";
    command.insert(command.begin() + 1, {"--config", config, "--driverloaded", "n"});
    RunOptions options;
    options.extra_environment = {"LVM_SUPPRESS_FD_WARNINGS=1"};
    return run_program(command, options);
}

LvmDisk make_lvm_disk(const ScratchFolder& folder, const std::string& name, const std::string& root_image) {
    LvmDisk disk;
    disk.path = folder.sparse_file(name, 96 * kMiB);
    const LoopDevice loop(disk.path);
    must_lvm(loop.path(), {"pvcreate", "-y", loop.path()});
    must_lvm(loop.path(), {"vgcreate", "-y", "vg0", loop.path()});
    const auto make = [&](const char* volume, const char* size) {
        must_lvm(loop.path(), {"lvcreate", "-y", "-an", "-Zn", "-Wn", "-n", volume, "-L", size, "vg0"});
    };
    make("root", "24M");
    make("raw", "8M");
    must_lvm(loop.path(), {"lvextend", "-y", "-L", "+24M", "vg0/root"});
    const std::uint64_t first = 1 * kMiB;  // pe_start, by default
    std::istringstream lines(
        run_lvm(loop.path(), {"lvs", "--noheadings", "-O", "seg_start", "-o", "lv_name,seg_pe_ranges", "vg0"})
            .out);
    for (std::string volume, range; lines >> volume >> range;) {
        if (volume == "raw")
            disk.raw = place_of(range, first);
        else
            disk.root.push_back(place_of(range, first));
    }
    std::uint64_t offset = 0;
    for (Extent piece : disk.root) {
        put(root_image, offset, loop.path(), piece);
        offset += piece.size();
    }
    disk.free = {disk.root.back().end, 93 * kMiB};
    return disk;
}

}  // namespace dupengine::test
