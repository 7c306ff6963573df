#include "layout/content_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>

#include "base/fd.h"
#include "layout/storage_lineage.h"
#include "layout/write_counters.h"

namespace dupengine::layout {
namespace {

// A page that a program has mapped for writing changes without a new time, as long as it was changed before.
// No lease is given on a file that is open for writing, and a mapping keeps it open.
bool is_open_for_writing(int fd) {
    // Whoever opens it for writing in this moment waits for us, and makes the kernel send a signal: one that
    // does nothing.
    if (::fcntl(fd, F_SETSIG, SIGURG) != 0) return true;
    if (::fcntl(fd, F_SETLEASE, F_RDLCK) != 0) return true;  // or leases are refused: nobody knows
    static_cast<void>(::fcntl(fd, F_SETLEASE, F_UNLCK));
    return false;
}

// Two changes close together may bear the same time: the clock of inodes has a grain of some milliseconds,
// and small inodes of ext4 one of a second.
bool is_settled(const struct stat& st) {
    constexpr std::int64_t kSettledMs = 1100;
    const auto ms_of = [](const timespec& t) { return t.tv_sec * 1000 + t.tv_nsec / 1'000'000; };
    struct timespec now {};
    if (::clock_gettime(CLOCK_REALTIME, &now) != 0) return false;
    return ms_of(now) - std::max(ms_of(st.st_mtim), ms_of(st.st_ctim)) >= kSettledMs;
}

std::string state_of_file(int fd) {
    struct stat st {};
    if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !is_settled(st) || !keeps_times(fd)) return "";
    return fmt::format("file {}:{} size {} mtime {}.{:09} ctime {}.{:09}\n", st.st_dev, st.st_ino, st.st_size,
                       st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

// The file below a loop device: open for writing, by that device.
std::string state_of_backing_file(const LoopBinding& loop) {
    const int fd = ::open(loop.backing_name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return "";
    const Fd file(fd);
    struct stat st {};
    if (::fstat(fd, &st) != 0 || st.st_dev != loop.backing->device_number || st.st_ino != loop.backing->inode)
        return "";
    return state_of_file(fd);
}

std::string state_of_disk(DeviceNumber device, const BlockGraph& graph) {
    // Somebody has looked at this disk by now, so that reads were counted.
    const auto counters = read_write_counters(device, graph);
    // "diskseq" (Linux 5.15): another disk in the same place, another medium, another file below a loop
    // device.
    const std::string sequence = graph.attribute(device, "diskseq");
    if (sequence.empty() || !counters || !counters->counts || is_mapped(device, graph)) return "";
    return fmt::format("disk {} sequence {} written {} discarded {}\n", device, sequence,
                       counters->sectors_written, counters->sectors_discarded);
}

std::string state_of_device(DeviceNumber device, const BlockGraph& graph) {
    const block::Extent extent = graph.extent_on_disk(device);
    if (graph.whole_disk(device))  // its disk is looked at, too
        return fmt::format("partition {} at {}\n", device, extent.text());
    std::string text = state_of_disk(device, graph);
    const LoopBinding* loop = graph.loop(device);
    if (text.empty() || loop == nullptr) return text;
    if (!loop->backing) return "";
    text += fmt::format("of {}\n", loop->range.text());
    if (loop->backing->is_block_device) return text;
    const std::string file = state_of_backing_file(*loop);
    return file.empty() ? "" : text + file;
}

std::string find_state(const std::string& path, const SystemRoots& roots) {
    const std::string boot = read_if_there(roots.proc + "/sys/kernel/random/boot_id").value_or("");
    if (boot.empty()) return "";
    std::string text = "boot " + boot;
    const Fd fd = open_path(path, O_RDONLY, Code::kSourceIo);
    const block::PathIdentity what = block::identify(path);
    if (!what.is_block_device) {
        const std::string file = is_open_for_writing(fd.get()) ? "" : state_of_file(fd.get());
        return file.empty() ? "" : text + file;
    }
    // What programs wrote through the page cache is counted when it gets to the disk.
    if (::fsync(fd.get()) != 0) return "";
    const BlockGraph graph(roots);
    for (const Place& place : lineage(what, graph, Mapped::kStop)) {
        if (!place.where.is_block_device) continue;  // below a loop device, which has asked it
        const std::string device = state_of_device(place.where.device_number, graph);
        if (device.empty()) return "";
        text += device;
    }
    return text;
}

}  // namespace

std::string content_state(const std::string& path, const SystemRoots& roots) {
    try {
        return find_state(path, roots);
    } catch (const Error&) {
        return "";  // whoever cannot be asked shows nothing
    }
}

}  // namespace dupengine::layout
