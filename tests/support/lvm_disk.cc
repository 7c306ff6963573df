#include "tests/support/lvm_disk.h"

#include <fcntl.h>

#include <algorithm>
#include <sstream>

#include "base/fd.h"

namespace dupengine::test {
namespace {

using block::Extent;

constexpr std::uint64_t kExtent = 4 * kMiB;

void must_lvm(const std::vector<std::string>& devices, std::vector<std::string> command) {
    const RunResult result = run_lvm(devices, command);
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

// Calls on_chunk(disk, its place there, place in the volume) for each chunk of a volume, in order.
template <typename OnChunk>
void for_each_chunk(const std::vector<LvmSet::Run>& runs, const OnChunk& on_chunk) {
    ByteOffset at = 0;
    for (const LvmSet::Run& run : runs)
        for (std::uint64_t done = 0; done < run.stripes.front().place.size(); done += run.chunk_bytes)
            for (const auto& stripe : run.stripes) {
                on_chunk(stripe.disk, stripe.place.begin + done, at);
                at += run.chunk_bytes;
            }
}

// The runs of one volume, as lvs tells of them: "/dev/loop1:0-2 /dev/loop2:0-2" a line.
std::vector<LvmSet::Run> runs_of(const std::vector<std::string>& devices, const std::string& volume) {
    constexpr std::uint64_t kChunk = 64 * kKiB;
    std::istringstream lines(
        run_lvm(devices, {"lvs", "--noheadings", "-O", "seg_start", "-o", "seg_pe_ranges", "vg0/" + volume})
            .out);
    std::vector<LvmSet::Run> runs;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        LvmSet::Run& run = runs.emplace_back(LvmSet::Run{kChunk, {}});
        for (std::string range; words >> range;) {
            const auto device = std::find(devices.begin(), devices.end(), range.substr(0, range.find(':')));
            run.stripes.push_back(
                {static_cast<std::size_t>(device - devices.begin()), place_of(range, kMiB)});
        }
    }
    return runs;
}

void write_volume(const std::vector<LvmSet::Run>& runs, const std::string& image,
                  const std::vector<std::string>& disks) {
    for_each_chunk(runs, [&](std::size_t disk, ByteOffset there, ByteOffset at) {
        put(image, at, disks[disk], {there, there + runs.front().chunk_bytes});
    });
}

}  // namespace

RunResult run_lvm(const std::string& device, std::vector<std::string> command) {
    return run_lvm(std::vector<std::string>{device}, std::move(command));
}

RunResult run_lvm(const std::vector<std::string>& devices, std::vector<std::string> command) {
    std::string accepted;
    for (const std::string& device : devices)
        accepted += "\"a|^" + device + "$|\",";
    const std::string config = "devices{filter=[" + accepted +
                               "\"r|.*|\"] scan=[\"/dev\"] use_devicesfile=0 obtain_device_list_from_udev=0}"
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
    must_lvm({loop.path()}, {"pvcreate", "-y", loop.path()});
    must_lvm({loop.path()}, {"vgcreate", "-y", "vg0", loop.path()});
    const auto make = [&](const char* volume, const char* size) {
        must_lvm({loop.path()}, {"lvcreate", "-y", "-an", "-Zn", "-Wn", "-n", volume, "-L", size, "vg0"});
    };
    make("root", "24M");
    make("raw", "8M");
    must_lvm({loop.path()}, {"lvextend", "-y", "-L", "+24M", "vg0/root"});
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

LvmSet make_lvm_set(const ScratchFolder& folder, const std::string& striped_image,
                    const std::string& linear_image) {
    constexpr std::uint64_t kSize = 48 * kMiB;
    LvmSet set;
    set.paths = {folder.sparse_file("pv-a.img", kSize), folder.sparse_file("pv-b.img", kSize)};
    const LoopDevice a(set.paths[0]), b(set.paths[1]);
    const std::vector<std::string> devices = {a.path(), b.path()};
    must_lvm(devices, {"pvcreate", "-y", a.path(), b.path()});
    must_lvm(devices, {"vgcreate", "-y", "vg0", a.path(), b.path()});
    const std::vector<std::string> quiet = {"-y", "-an", "-Zn", "-Wn"};
    const auto make = [&](std::vector<std::string> command) {
        command.insert(command.begin() + 1, quiet.begin(), quiet.end());
        command.emplace_back("vg0");
        must_lvm(devices, command);
    };
    make({"lvcreate", "-n", "striped", "-i", "2", "-I", "64k", "-L", "24M"});
    make({"lvcreate", "-n", "linear", "-L", "48M"});
    set.striped = runs_of(devices, "striped");
    set.linear = runs_of(devices, "linear");
    write_volume(set.striped, striped_image, devices);
    write_volume(set.linear, linear_image, devices);
    return set;
}

void read_lvm_volume(const std::vector<LvmSet::Run>& runs, const std::vector<std::string>& disks,
                     const std::string& into) {
    must_run({"truncate", "-s", "0", into});
    for_each_chunk(runs, [&](std::size_t disk, ByteOffset there, ByteOffset at) {
        put(disks[disk], there, into, {at, at + runs.front().chunk_bytes});
    });
}

}  // namespace dupengine::test
