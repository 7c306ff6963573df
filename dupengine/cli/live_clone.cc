#include "cli/live_clone.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/units.h"
#include "cli/wake.h"
#include "machine/disk_uses.h"
#include "machine/facts.h"
#include "machine/inherited_connections.h"
#include "machine/likeness.h"
#include "machine/write_tracker.h"
#include "machine/written_elsewhere.h"
#include "profiles/wake.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;

// A duplicate starts its links, and may have to look for its way.
constexpr auto kLifeTime = 120s;
// What had passed the gate before it was closed.
constexpr auto kDrainTime = 200ms;

// Pages that keep changing, of which only differences are sent: of each an eighth of its size is kept. As a
// share of those that are free.
constexpr std::uint64_t kKeptShare = 4;
constexpr std::uint64_t kMostKeptPages = 512 * kMiB / codec::kPageBytes;

std::uint64_t kept_pages(const machine::Facts& facts) {
    const std::uint64_t free = facts.memory_bytes - facts.memory_in_use_bytes;
    return std::min(kMostKeptPages, free / kKeptShare / codec::kPageBytes);
}

// What lies in swap would be on the source's disk, and nowhere on the target's: of a partition that is swap
// only what is written from here on is copied.
std::uint64_t swap_in_use_bytes() {
    std::ifstream swaps("/proc/swaps");
    std::uint64_t used_kib = 0;
    std::string line;
    for (std::getline(swaps, line); std::getline(swaps, line);) {
        std::istringstream words(line);
        std::string name, type;
        std::uint64_t size = 0, used = 0;
        words >> name >> type >> size >> used;
        if (!name.starts_with("/dev/zram")) used_kib += used;
    }
    return used_kib * kKiB;
}

std::vector<std::string> paths_of(const std::vector<machine::FollowedDisk>& disks) {
    std::vector<std::string> paths;
    for (const machine::FollowedDisk& disk : disks)
        paths.push_back(disk.path);
    return paths;
}

struct DiskPlace {
    std::size_t disk = 0;
    ByteOffset offset = 0;
};

// Where the partition with this filesystem begins; nothing for what lies on no partition.
std::optional<DiskPlace> place_of(std::uint64_t filesystem, const std::vector<machine::FollowedDisk>& disks) {
    const std::string folder = fmt::format("/sys/dev/block/{}:{}", major(filesystem), minor(filesystem));
    std::ifstream start(folder + "/start");
    std::uint64_t sectors = 0;
    if (!(start >> sectors)) return std::nullopt;
    std::error_code gone;
    const auto parent = std::filesystem::canonical(folder, gone).parent_path();
    for (std::size_t i = 0; i < disks.size(); ++i) {
        struct stat st {};
        if (::stat(disks[i].path.c_str(), &st) != 0) continue;
        const auto whole = std::filesystem::canonical(
            fmt::format("/sys/dev/block/{}:{}", major(st.st_rdev), minor(st.st_rdev)), gone);
        // sysfs counts in these whatever the disk has
        if (whole == parent) return DiskPlace{i, sectors * 512};
    }
    return std::nullopt;
}

// What a filesystem says of itself at its beginning: in ext and XFS also when it was written last.
std::vector<DiskSample> sample_disks(const machine::HotDisk& hot,
                                     const std::vector<machine::FollowedDisk>& disks,
                                     const machine::DiskUses& uses) {
    std::vector<DiskSample> samples;
    for (const machine::MountPlace& mount : uses.mounts) {
        const auto place = place_of(mount.filesystem, disks);
        if (!place) continue;
        Bytes begin(4 * kKiB);
        hot.read_from_medium(disks[place->disk].begin + place->offset, begin);
        const bool is_ext = load_le<std::uint16_t>(begin, 1024 + 56) == 0xEF53;
        const bool is_xfs = as_text(std::span(begin).first(4)) == "XFSB";
        const bool is_fat = load_le<std::uint16_t>(begin, 510) == 0xAA55;
        if (!is_ext && !is_xfs && !is_fat) continue;
        const ByteOffset from = is_ext ? 1024 : 0, size = is_ext ? 1024 : 512;
        samples.push_back(
            {place->offset + from, size, codec::sha256(std::span(begin).subspan(from, size)), place->disk});
    }
    return samples;
}

// What an earlier run may have left, and what can be loaded only while all runs.
void prepare_the_kernel() {
    machine::EgressGate::remove_leftovers();
    machine::prepare_to_destroy_connections();
}

// The command ends on the target before it runs again; so what it has is of no use there.
machine::PageNumbers find_dead_pages(pid_t command, const std::vector<std::span<const std::byte>>& rooms) {
    machine::PageNumbers dead = machine::private_pages_of(command);
    for (const auto& room : rooms) {
        const machine::PageNumbers more = machine::pages_behind(room);
        dead.insert(dead.end(), more.begin(), more.end());
    }
    std::ranges::sort(dead);
    return dead;
}

std::string joined(const std::vector<std::string>& lines) {
    return fmt::format("{}", fmt::join(lines, "; "));
}

}  // namespace

void refuse_if_memory_cannot_go(const std::vector<machine::FollowedDisk>& disks) {
    std::vector<std::string> cannot = machine::obstacles_to_snapshots(machine::read_facts());
    for (const std::string& obstacle : {machine::WriteTracker::obstacle(), machine::EgressGate::obstacle()})
        if (!obstacle.empty()) cannot.push_back(obstacle);
    if (!cannot.empty())
        throw_error(
            Code::kUnsupported,
            "the memory of this machine cannot be duplicated: {}. What works: clone --disks-only, and "
            "starting the target from its disk",
            joined(cannot));
    std::vector<std::string> refused =
        machine::written_elsewhere(paths_of(disks), machine::look_at_uses(disks));
    if (const std::uint64_t used = swap_in_use_bytes(); used != 0)
        refused.push_back(fmt::format("{} of memory are in swap (swapoff -a && swapon -a brings them back)",
                                      format_size(used)));
    if (!refused.empty())
        throw_error(Code::kRefused, "{}: {}", fmt::join(paths_of(disks), ", "), joined(refused));
    profiles::refuse_if_it_could_not_wake({paths_of(disks)});
}

LiveClone::LiveClone(machine::HotDisk& hot, Participants& participants, const LiveCloneOptions& options,
                     RandomSource& random)
    : gate_((prepare_the_kernel(), machine::find_outside_devices())),
      life_(options.target, random),
      process_(hot,
               [&] {
                   machine::LiveOptions made = process_options(hot, participants, options);
                   random.fill(made.key);
                   return made;
               }()),
      memory_(process_, options.max_pause) {}

// Its functions run in the live process, which has this object, too.
machine::LiveOptions LiveClone::process_options(const machine::HotDisk& hot, Participants& participants,
                                                const LiveCloneOptions& options) {
    machine::LiveOptions made;
    made.most_kept_pages = kept_pages(machine::read_facts());
    made.deadline = std::max<std::chrono::milliseconds>(10s, 2 * options.max_pause);
    made.look_at_uses = [disks = options.disks] {
        machine::DiskUses uses = machine::look_at_uses(disks);
        const auto elsewhere = machine::written_elsewhere(paths_of(disks), uses);
        if (!elsewhere.empty())
            throw_error(Code::kRefused, "{}: {}", fmt::join(paths_of(disks), ", "), joined(elsewhere));
        uses.swap = {};  // what is written there is part of memory
        return uses;
    };
    made.prepare = [this, &participants] {
        gate_.check();
        participants.prepare();
    };
    made.abort_all = [&participants] { participants.abort_all(); };
    made.resume = [&participants](bool is_done) {
        participants.resume(is_done);
        return participants.take_notes();
    };
    made.make_room = machine::drop_file_caches;
    made.dead_pages = find_dead_pages;
    made.on_rest = [this, &hot, disks = options.disks, look = made.look_at_uses] {
        samples_ = sample_disks(hot, disks, look());
    };
    made.close_gate = [this] {
        gate_.close();
        if (!gate_.drain(kDrainTime))
            throw_error(
                Code::kRefused,
                "frames wait in a queue of this machine, and the duplicate would send them as this one (a "
                "shaper? tc qdisc)");
        gate_.seal();
    };
    made.open_gate = [this] { gate_.open(); };
    made.on_wake = [this, &participants, disks = paths_of(options.disks),
                    store = options.store](machine::Awake& awake) {
        wake_up(awake, {disks, store, life_.place(), samples_}, gate_, participants);
    };
    return made;
}

bool LiveClone::wait_for_rest(const std::stop_token& stop) {
    // Short beside the patience of the other end: whoever answers it cannot do anything else meanwhile.
    return memory_.wait_until_ready(15s, stop);
}

machine::AtRest LiveClone::rest() {
    machine::AtRest rest = memory_.black_out();
    for (const std::string& way : gate_.ways_around())
        rest.notes.push_back(way);
    return rest;
}

wire::OfferedMemory LiveClone::offered() const {
    const machine::MemoryShape& shape = process_.shape();
    return {machine::to_text(machine::read_likeness()), shape.span_pages, shape.ram_pages, shape.key};
}

wire::OfferedDisk::Group LiveClone::group(std::uint32_t number) {
    machine::MemoryGroup group = memory_.group(number);
    using Kind = wire::GroupHead::Kind;
    switch (group.kind) {
        case machine::MemoryGroup::Kind::kGroup:
            return {Kind::kGroup, std::move(group.bytes)};
        case machine::MemoryGroup::Kind::kNotYet:
            return {Kind::kNotYet, {}};
        case machine::MemoryGroup::Kind::kEnd:
            break;
    }
    return {Kind::kEnd, {}};
}

std::optional<std::string> LiveClone::wait_for_life(const std::stop_token& stop) {
    return life_.wait(kLifeTime, stop);
}

std::string draw_live(const machine::LiveReport& report) {
    std::string text;
    for (std::size_t i = 0; i < report.passes.size(); ++i)
        text +=
            fmt::format("pass {:<4} {} of {} pages of memory sent ({})\n", i + 1, report.passes[i].pages_sent,
                        report.passes[i].pages_looked_at, format_size(report.passes[i].bytes_sent));
    const machine::ImageReport& image = report.image;
    text += fmt::format("image     {} pages, {} known before and {} of no use; {} sent after the pause\n",
                        image.pages, image.pages_known, image.pages_dead, format_size(image.bytes_sent));
    if (report.pauses.empty()) return text;
    const machine::PauseReport& pause = report.pauses.back();
    return text +
           fmt::format(
               "pause     {:.3f} s: processes {:.3f}, filesystems {:.3f}, image {:.3f}, memory {:.3f}, "
               "disk {:.3f}, thaw {:.3f}\n",
               pause.total(), pause.processes, pause.filesystems, pause.image, pause.memory, pause.disk,
               pause.thaw);
}

}  // namespace dupengine::cli
