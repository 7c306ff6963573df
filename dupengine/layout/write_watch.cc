#include "layout/write_watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "layout/write_counters.h"

namespace dupengine::layout {
namespace {

// A loop device's file can be written by others, who are not counted there.
void add_times(WritesSeen& seen, const LoopBinding& loop) {
    const Fd file(::open(loop.backing_name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat st {};
    const bool shows = file.valid() && ::fstat(file.get(), &st) == 0 && keeps_times(file.get()) &&
                       st.st_dev == loop.backing->device_number && st.st_ino == loop.backing->inode;
    seen.all = seen.all && shows;
    if (shows)
        seen.text +=
            fmt::format("file size {} mtime {}.{:09}\n", st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

void add_counters(WritesSeen& seen, DeviceNumber device, const BlockGraph& graph) {
    const auto counters = read_write_counters(device, graph);
    seen.all = seen.all && counters && counters->counts &&
               !is_mapped(graph.whole_disk(device).value_or(device), graph);
    if (counters)
        seen.text += fmt::format("{} sequence {} written {} discarded {}\n", device,
                                 graph.attribute(device, "diskseq"), counters->sectors_written,
                                 counters->sectors_discarded);
}

WritesSeen find_writes(DeviceNumber device, const SystemRoots& roots) {
    constexpr int kDeepest = 16;  // loop devices over loop devices
    const BlockGraph graph(roots);
    WritesSeen seen{"", true};
    for (int depth = 0; depth < kDeepest; ++depth) {
        add_counters(seen, device, graph);
        // What else is written to its disk, or to the file below, need not be of this partition.
        if (graph.whole_disk(device)) return seen;
        const LoopBinding* loop = graph.loop(device);
        if (loop == nullptr) return seen;
        if (!loop->backing) break;
        if (!loop->backing->is_block_device) {
            add_times(seen, *loop);
            return seen;
        }
        device = loop->backing->device_number;
    }
    seen.all = false;
    return seen;
}

}  // namespace

WritesSeen writes_until_now(const block::PathIdentity& device, const SystemRoots& roots) {
    try {
        return find_writes(device.device_number, roots);
    } catch (const Error&) {
        return {};
    }
}

WritesSeen writes_until_now(const std::string& path, const SystemRoots& roots) {
    try {
        const block::PathIdentity what = block::identify(path);
        if (!what.is_block_device) return {};
        const Fd fd = open_path(path, O_RDONLY, Code::kSourceIo);
        const bool flushed = ::fsync(fd.get()) == 0;
        WritesSeen seen = writes_until_now(what, roots);
        seen.all = seen.all && flushed;
        return seen;
    } catch (const Error&) {
        return {};
    }
}

}  // namespace dupengine::layout
