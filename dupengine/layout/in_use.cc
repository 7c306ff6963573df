#include "layout/in_use.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>

#include "base/fd.h"
#include "layout/block_graph.h"
#include "layout/mounts.h"
#include "layout/storage_lineage.h"
#include "layout/use_advice.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using block::PathIdentity;
using Part = std::optional<Extent>;

// One storage that is looked at for users.
struct Step {
    PathIdentity where;
    Extent range;  // of `where`
    bool is_asked =
        true;  // the range is what was asked about, byte for byte; else it stands on `part` of that
    Part part;

    Part part_at(Extent used) const {
        if (!is_asked) return part;
        if (used.contains(range)) return std::nullopt;
        const Extent common = used.clipped_to(range);
        return Extent{common.begin - range.begin, common.end - range.begin};
    }
};

// Walks from the asked storage up to everything that uses it.
class Search {
  public:
    explicit Search(const SystemRoots& roots)
        : graph_(roots),
          mounts_(all_mounts(roots, graph_)),
          swaps_(active_swaps(roots, graph_)),
          groups_(btrfs_groups(roots, graph_)),
          proc_(roots.proc) {}

    std::vector<Use> run(const PathIdentity& what);

  private:
    void look_at(const Step& step);
    void climb(DeviceNumber device, const Part& part);
    void add_mounts(const Step& step);
    void add_swaps(const Step& step);
    void add_loops(const Step& step);
    void add_btrfs(const Step& step);
    void add_holders(const Step& step);
    void add_files_inside(const Step& step);
    Use& add(Use::Kind kind, const PathIdentity& where, std::string detail, const Part& part,
             std::optional<Use::Mount> mount = {});

    BlockGraph graph_;
    std::vector<Mount> mounts_;
    std::vector<SwapArea> swaps_;
    std::vector<BtrfsGroup> groups_;
    std::string proc_;
    std::set<DeviceNumber> visited_;
    std::vector<Use> uses_;
};

std::vector<Use> Search::run(const PathIdentity& what) {
    if (what.is_block_device && !graph_.knows(what.device_number))
        throw_error(Code::kUnsupported, "sysfs knows no block device {}, so nobody can tell who uses it",
                    graph_.kernel_name(what.device_number));
    // What the storage itself is made of is no use of it: a partition of its disk, a loop device of its file.
    const std::vector<Place> places = lineage(what, graph_, Mapped::kStop);
    for (const Place& place : places)
        if (place.where.is_block_device) visited_.insert(place.where.device_number);
    for (const Place& place : places)
        look_at({place.where, place.range, true, std::nullopt});
    return std::move(uses_);
}

void Search::look_at(const Step& step) {
    add_mounts(step);
    add_swaps(step);
    add_loops(step);
    if (!step.where.is_block_device) return;
    add_btrfs(step);
    add_holders(step);
    add_files_inside(step);
    for (DeviceNumber partition : graph_.partitions(step.where.device_number)) {
        const Extent extent = graph_.extent_on_disk(partition);
        if (extent.touches(step.range)) climb(partition, step.part_at(extent));
    }
}

// Whatever stands on `device` uses `part` of what was asked about. A device is looked at once: a made-up or
// changing sysfs cannot lead in circles.
void Search::climb(DeviceNumber device, const Part& part) {
    if (visited_.insert(device).second) look_at({{true, device, 0}, kAllBytes, false, part});
}

Use& Search::add(Use::Kind kind, const PathIdentity& where, std::string detail, const Part& part,
                 std::optional<Use::Mount> mount) {
    const std::string device = where.is_block_device ? graph_.node(where.device_number) : std::string();
    const auto known = std::find_if(uses_.begin(), uses_.end(), [&](const Use& use) {
        return use.device == device && use.detail == detail;
    });
    if (known != uses_.end()) return *known;
    return uses_.emplace_back(Use{kind, device, std::move(detail), part, std::move(mount)});
}

void Search::add_mounts(const Step& step) {
    std::set<std::string>
        points;  // containers repeat the same mount points: our own view, or one other, is enough
    for (const Mount& mount : mounts_) {
        const bool is_device = step.where.is_block_device && mount.device == step.where.device_number;
        const bool is_source =
            std::find(mount.sources.begin(), mount.sources.end(), step.where) != mount.sources.end();
        if ((is_device || is_source) && points.insert(mount.point).second)
            add(Use::Kind::kMounted, step.where, advice_for_mount(mount, proc_), step.part,
                Use::Mount{mount.seen_by == 0
                               ? mount.point
                               : fmt::format("{}/{}/root{}", proc_, mount.seen_by, mount.point),
                           mount.id, mount.device});
    }
}

void Search::add_swaps(const Step& step) {
    for (const SwapArea& area : swaps_)
        if (area.where == step.where) add(Use::Kind::kSwap, step.where, advice_for_swap(area), step.part);
}

void Search::add_loops(const Step& step) {
    for (const LoopBinding& loop : graph_.loops()) {
        if (loop.backing != step.where || !loop.range.touches(step.range) || visited_.count(loop.device) != 0)
            continue;
        const Part part = step.part_at(loop.range);
        add(Use::Kind::kLoopBacking, step.where, advice_for_loop(graph_.node(loop.device)), part)
            .leaves_by_itself = loop.leaves_by_itself;
        climb(loop.device, part);
    }
}

void Search::add_btrfs(const Step& step) {
    for (const BtrfsGroup& group : groups_) {
        const auto& devices = group.devices;
        if (std::find(devices.begin(), devices.end(), step.where.device_number) == devices.end()) continue;
        const bool seen = std::any_of(mounts_.begin(), mounts_.end(), [&](const Mount& mount) {
            return std::find(mount.sources.begin(), mount.sources.end(), step.where) != mount.sources.end();
        });
        if (!seen) add(Use::Kind::kMounted, step.where, advice_for_hidden_btrfs(group.uuid), step.part);
    }
}

void Search::add_holders(const Step& step) {
    for (DeviceNumber holder : graph_.holders(step.where.device_number)) {
        if (visited_.count(holder) != 0) continue;
        add(Use::Kind::kHolder, step.where, advice_for_holder(graph_, holder), step.part);
        climb(holder, step.part);
    }
}

// Loop devices and swap on files of the filesystem that this device holds. They keep it busy even where its
// mount has been taken off lazily and no namespace shows it any more.
void Search::add_files_inside(const Step& step) {
    const DeviceNumber filesystem = step.where.device_number;
    for (const SwapArea& area : swaps_)
        if (!area.where.is_block_device && area.filesystem == filesystem)
            add(Use::Kind::kSwap, step.where, advice_for_swap(area), step.part);
    for (const LoopBinding& loop : graph_.loops()) {
        if (!loop.backing || loop.backing->is_block_device || loop.filesystem != filesystem) continue;
        if (visited_.count(loop.device) != 0) continue;
        add(Use::Kind::kLoopBacking, step.where,
            advice_for_loop_inside(graph_.node(loop.device), loop.backing_name), step.part);
        climb(loop.device, step.part);
    }
}

// Reading with O_EXCL asks the kernel for a claim that mounts, swap, holders and exclusive programs exclude.
bool is_held(const std::string& path) {
    try {
        open_path(path, O_RDONLY | O_EXCL | O_NONBLOCK, Code::kRefused);
    } catch (const Error& e) {
        return e.system_errno() == EBUSY;  // no right to open, no medium: whoever opens it next will say so
    }
    return false;
}

}  // namespace

const char* use_kind_name(Use::Kind kind) {
    switch (kind) {
        case Use::Kind::kMounted:
            return "mounted";
        case Use::Kind::kSwap:
            return "swap";
        case Use::Kind::kHolder:
            return "holder";
        case Use::Kind::kLoopBacking:
            return "loop";
        case Use::Kind::kOpenExclusively:
            return "exclusive";
    }
    return "mounted";
}

std::vector<Use> find_uses(const PathIdentity& what, const SystemRoots& roots) {
    return Search(roots).run(what);
}

std::vector<Use> find_uses(const std::string& path, const SystemRoots& roots) {
    const PathIdentity what = block::identify(path);
    std::vector<Use> uses = find_uses(what, roots);
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    const auto all_leave = [&] { return std::ranges::all_of(uses, &Use::leaves_by_itself); };
    while (!uses.empty() && all_leave() && std::chrono::steady_clock::now() < patience) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        uses = find_uses(what, roots);
    }
    for (Use& use : uses)
        if (use.device.empty()) use.device = path;  // a file: its name is the caller's
    if (uses.empty() && what.is_block_device && is_held(path))
        uses.push_back({Use::Kind::kOpenExclusively,
                        BlockGraph(roots).node(what.device_number),
                        advice_for_exclusive(what.device_number, roots.proc),
                        std::nullopt,
                        {}});
    return uses;
}

bool same_storage(const PathIdentity& a, const PathIdentity& b, const SystemRoots& roots) {
    if (a == b) return true;
    const BlockGraph graph(roots);
    const std::vector<Place> of_a = lineage(a, graph, Mapped::kFollow),
                             of_b = lineage(b, graph, Mapped::kFollow);
    for (const Place& one : of_a)
        for (const Place& other : of_b)
            if (one.where == other.where && one.range.touches(other.range) && !(one.partial && other.partial))
                return true;
    return false;
}

bool same_storage(const std::string& a, const std::string& b, const SystemRoots& roots) {
    return same_storage(block::identify(a), block::identify(b), roots);
}

}  // namespace dupengine::layout
