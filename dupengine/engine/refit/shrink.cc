#include "engine/refit/shrink.h"

#include <algorithm>

#include "base/units.h"
#include "block/find_data.h"
#include "block/patchwork.h"
#include "engine/refit/moved_partition.h"
#include "engine/refit/shrink_layout.h"
#include "engine/refit/shrink_programs.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using layout::Partition;
using layout::TableKind;

// A partition of the source (or, number 0, a filesystem on the whole of it) on its way to a new place.
struct Part {
    unsigned number = 0;
    std::string who;  // "partition 2 (ext4)"
    std::string type;
    Place place;
    std::uint64_t used_bytes = 0;
    std::uint64_t filesystem_bytes = 0;
    const Shrinker* shrinker = nullptr;  // null: keeps its size
    std::string stays_because;           // why it cannot move, or not become smaller
    std::shared_ptr<block::Overlay> overlay;
};

// Boot code in sector 0 beside protective entries: partitions that an old system finds there, by sector.
bool is_hybrid(const layout::PartitionTable& table) {
    constexpr std::size_t kEntriesAt = 446, kEntryBytes = 16, kTypeAt = 4, kEntries = 4;
    constexpr std::byte kProtective{0xEE};
    if (table.kind != TableKind::kGpt || table.sector0.size() < kEntriesAt + kEntries * kEntryBytes)
        return false;
    for (std::size_t i = 0; i < kEntries; ++i) {
        const std::byte type = table.sector0[kEntriesAt + i * kEntryBytes + kTypeAt];
        if (type != std::byte{0} && type != kProtective) return true;
    }
    return false;
}

// Why it must stay where it is; empty if it may move.
std::string why_immovable(const layout::DiskDescription& disk,
                          const layout::PartitionDescription& described) {
    const std::string type = described.signature ? described.signature->type : "";
    const bool is_hibernated = type == "swsuspend" || (type == "swap" && described.used.whole);
    if (disk.table.mbr_extended) return "the disk has logical partitions, which are not moved";
    if (is_hybrid(disk.table)) return "a hybrid MBR names sectors of this disk";
    if (described.partition.type_guid == layout::type_guid::kBiosBoot)
        return "the boot loader finds it by its sector";
    if (is_hibernated) return "it holds a hibernated system";
    return {};
}

void decide_shrinker(Part& part, const std::optional<layout::Signature>& signature,
                     const layout::UsedExtents& used) {
    part.type = signature ? signature->type : "";
    part.place.least_bytes = part.place.extent.size();
    part.filesystem_bytes = used.filesystem_bytes;
    part.used_bytes = used_of_filesystem(used);
    part.shrinker = find_shrinker(part.type);
    if (part.shrinker == nullptr || !used.whole) return;
    part.shrinker = nullptr;
    part.stays_because = used.reason;
}

class Shrinking {
  public:
    Shrinking(const block::Reader& source, layout::DiskDescription from, const layout::DiskDescription& to,
              const CopyOptions& options, Progress& progress, std::stop_token stop)
        : source_(source),
          from_(std::move(from)),
          target_bytes_(align_down(to.geometry.size_bytes, sector_bytes())),
          target_name_(to.name),
          progress_(progress),
          stop_(std::move(stop)) {
        collect_parts();
        find_room(to, options);
    }

    Shrunk run() {
        if (parts_.empty() || fits_as_it_is()) return {};
        if (bare()) room_.alignment = kPageBytes;
        room_.usable.end = align_down(room_.usable.end, room_.alignment);
        refuse_hopeless();
        const std::vector<Extent> places = find_places();
        for (std::size_t i = 0; i < parts_.size(); ++i)
            make_smaller(parts_[i], places[i].size());
        return assemble(places);
    }

  private:
    static constexpr std::uint64_t kPageBytes = 4096;

    bool bare() const { return from_.table.kind == TableKind::kNone; }
    std::uint32_t sector_bytes() const {
        return bare() ? from_.geometry.logical_sector_bytes : from_.table.sector_bytes;
    }

    void collect_parts() {
        if (bare()) {
            Part whole;
            whole.who = from_.name;
            whole.place = {{0, from_.geometry.size_bytes}, from_.geometry.size_bytes, false};
            decide_shrinker(whole, from_.signature, from_.used);
            parts_.push_back(std::move(whole));
            return;
        }
        for (const auto& described : from_.partitions) {
            const Partition& p = described.partition;
            if (p.type_guid == layout::type_guid::kProfile) continue;  // the source's own: not copied
            Part part;
            part.number = p.number;
            part.who = fmt::format("partition {} ({})", p.number,
                                   described.signature ? described.signature->type : "unknown");
            part.place.extent = p.extent;
            decide_shrinker(part, described.signature, described.used);
            const std::string why = why_immovable(from_, described);
            part.place.movable = why.empty();
            if (!why.empty()) part.stays_because = why;
            // Other tables name these sectors, too.
            if (from_.table.mbr_extended || is_hybrid(from_.table)) part.shrinker = nullptr;
            parts_.push_back(std::move(part));
        }
        std::sort(parts_.begin(), parts_.end(),
                  [](const Part& a, const Part& b) { return a.place.extent.begin < b.place.extent.begin; });
    }

    void find_room(const layout::DiskDescription& to, const CopyOptions& options) {
        for (const Kept& kept : find_kept_regions(to, options))
            room_.obstacles.insert(kept.extent);
        room_.usable = {0, target_bytes_};
        // Nothing moves in front of the first one: boot loaders live there.
        if (!parts_.empty()) room_.usable.begin = parts_.front().place.extent.begin;
        if (from_.table.kind == TableKind::kGpt)
            room_.usable.end = std::prev(layout::table_extents(from_.table, target_bytes_).end())->begin;
    }

    std::vector<Place> places_now() const {
        std::vector<Place> places;
        for (const Part& part : parts_)
            places.push_back(part.place);
        return places;
    }

    bool fits_as_it_is() const {
        return std::all_of(parts_.begin(), parts_.end(), [&](const Part& part) {
            return part.place.extent.end <= room_.usable.end && !room_.obstacles.touches(part.place.extent);
        });
    }

    [[noreturn]] void refuse(const std::vector<Place>& places) const {
        std::string reasons;
        for (const Part& part : parts_)
            if (!part.stays_because.empty())
                reasons += fmt::format("; {}: {}", part.who, part.stays_because);
            else if (part.shrinker == nullptr)
                reasons += fmt::format("; {} keeps its size", part.who);
        const auto end = least_end(places, room_);
        if (!end)
            throw_error(Code::kRefused,
                        "{}: --shrink cannot lay the source's partitions around what stays there or cannot "
                        "move{}",
                        target_name_, reasons);
        throw_error(Code::kRefused,
                    "{}: too small, with --shrink too: the source needs at least {} bytes, it has {}{}",
                    target_name_, *end + (target_bytes_ - room_.usable.end), target_bytes_, reasons);
    }

    // If not even what is in use fits, no program needs to look.
    void refuse_hopeless() const {
        std::vector<Place> places = places_now();
        for (std::size_t i = 0; i < parts_.size(); ++i)
            if (parts_[i].shrinker != nullptr) places[i].least_bytes = parts_[i].used_bytes;
        if (!fit_places(places, room_)) refuse(places);
    }

    // Asks the programs how small it can become, of one after the other, those with most to give first, until
    // it is enough: checking a filesystem takes minutes.
    std::vector<Extent> find_places() {
        std::vector<Part*> order;
        for (Part& part : parts_)
            if (part.shrinker != nullptr) order.push_back(&part);
        const auto spare = [](const Part* p) { return p->place.extent.size() - p->used_bytes; };
        std::stable_sort(order.begin(), order.end(),
                         [&](const Part* a, const Part* b) { return spare(a) > spare(b); });
        auto fitted = fit_places(places_now(), room_);
        for (auto part = order.begin(); !fitted && part != order.end(); ++part) {
            find_least(**part);
            fitted = fit_places(places_now(), room_);
        }
        if (!fitted) refuse(places_now());
        return *fitted;
    }

    void find_least(Part& part) {
        for (const char* program : part.shrinker->programs)
            if (!program_exists(program))
                throw_error(Code::kUnsupported,
                            "--shrink: {} needs the program {} (Debian package {}), which is not here",
                            part.who, program, part.shrinker->package);
        const Extent extent = part.place.extent;
        if (part.filesystem_bytes != 0 &&
            block::find_data(source_, {extent.begin + part.filesystem_bytes, extent.end})) {
            part.shrinker = nullptr;
            part.stays_because = "there is data behind its filesystem";
            return;
        }
        progress_.begin(part.number == 0 ? "check" : fmt::format("check {}", part.number), 0);
        part.overlay = std::make_shared<block::Overlay>(source_, extent, part.who, scratch_bytes(part));
        // Programs estimate, and a filesystem without free space is of no use.
        const std::uint64_t least = part.shrinker->find_least(*part.overlay, stop_);
        part.place.least_bytes =
            std::min(extent.size(), align_up(least + least / 16 + 4 * kMiB, room_.alignment));
    }

    // What may change: all that is in use behind the new end, and structures all over it.
    std::uint64_t scratch_bytes(const Part& part) const {
        const std::uint64_t missing = from_.geometry.size_bytes -
                                      std::min(from_.geometry.size_bytes, target_bytes_) +
                                      room_.obstacles.total_bytes() + kMiB;
        return std::min(part.used_bytes, missing) + part.place.extent.size() / 128 + 16 * kMiB;
    }

    void make_smaller(Part& part, std::uint64_t size_bytes) {
        if (size_bytes == part.place.extent.size()) {
            part.overlay.reset();  // it was only asked; its content goes as it is
            return;
        }
        if (part.filesystem_bytes != 0 && part.filesystem_bytes <= size_bytes) {
            part.overlay.reset();  // only the partition was too large, and nothing lies behind its filesystem
            return;
        }
        progress_.begin(part.number == 0 ? "shrink" : fmt::format("shrink {}", part.number), 0);
        part.filesystem_bytes = part.shrinker->shrink(*part.overlay, size_bytes, stop_);
        if (part.filesystem_bytes > size_bytes)
            throw_error(Code::kUnsupported, "{}: its program left it {} bytes large, of {} wanted", part.who,
                        part.filesystem_bytes, size_bytes);
        part.overlay->settle();
    }

    Shrunk assemble(const std::vector<Extent>& places) {
        Shrunk shrunk;
        block::Geometry geometry = from_.geometry;
        geometry.size_bytes = bare() ? places.front().size() : target_bytes_;
        auto view = std::make_unique<block::Patchwork>(source_.name(), geometry);
        view->lay({0, std::min(places.front().begin, geometry.size_bytes)}, source_, 0);
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            lay_part(*view, parts_[i], places[i]);
            note_change(parts_[i], places[i], shrunk.notes);
            if (parts_[i].overlay) shrunk.parts.push_back(parts_[i].overlay);
        }
        if (!bare()) lay_table(*view, places, shrunk.notes);
        shrunk.view = std::move(view);
        shrunk.before = std::move(from_);
        return shrunk;
    }

    void lay_part(block::Patchwork& view, const Part& part, Extent place) const {
        const Extent before = part.place.extent;
        if (part.overlay)  // behind the filesystem there was nothing, and is nothing
            view.lay({place.begin, place.begin + part.filesystem_bytes}, *part.overlay, 0);
        else
            view.lay(place, source_, before.begin);
        const block::Window content(view, place, part.who);
        for (const auto& piece :
             boot_sectors_for(content, part.type, before.begin, place.begin, sector_bytes()))
            view.lay(place.begin + piece.offset, piece.content);
    }

    void lay_table(block::Patchwork& view, const std::vector<Extent>& places,
                   std::vector<std::string>& notes) const {
        layout::PartitionTable table = from_.table;
        std::erase_if(table.partitions, [&](const Partition& p) {
            const bool is_profile = p.type_guid == layout::type_guid::kProfile;
            if (is_profile)
                notes.push_back(
                    fmt::format("the source's own profile (partition {}) is not copied", p.number));
            return is_profile;
        });
        for (Partition& p : table.partitions)
            for (std::size_t i = 0; i < parts_.size(); ++i)
                if (parts_[i].number == p.number) p.extent = places[i];
        const layout::TableImage image = layout::encode_table(table, target_bytes_);
        for (const auto* pieces : {&image.primary, &image.backup})
            for (const auto& piece : *pieces)
                view.lay(piece.offset, piece.content);
    }

    void note_change(const Part& part, Extent place, std::vector<std::string>& notes) const {
        const Extent before = part.place.extent;
        if (place.size() != before.size())
            notes.push_back(fmt::format("{} becomes smaller: {}, on the source {}{}{}", part.who,
                                        format_size(place.size()), format_size(before.size()),
                                        *part.shrinker->note != '\0' ? "; " : "", part.shrinker->note));
        if (place.begin != before.begin)
            notes.push_back(fmt::format("{} moves to {}, on the source it is at {}", part.who,
                                        format_size(place.begin), format_size(before.begin)));
        if (place != before && has_boot_loader_in_front(block::Window(source_, before, part.who), part.type))
            notes.push_back(
                fmt::format("{}: a boot loader in front of it (EXTLINUX, GRUB) finds its files by "
                            "sectors that are others now: install it anew before it boots",
                            part.who));
    }

    const block::Reader& source_;
    layout::DiskDescription from_;
    std::uint64_t target_bytes_;
    std::string target_name_;
    Progress& progress_;
    std::stop_token stop_;
    std::vector<Part> parts_;  // in the order of the disk
    Room room_;
};

layout::DiskDescription describe_target(const block::Reader& target) {
    try {
        return layout::describe_disk(target, layout::Depth::kTable);
    } catch (Error& e) {
        if (e.code() == Code::kSourceIo) e.set_code(Code::kTargetIo);
        throw;
    }
}

}  // namespace

Shrunk shrink_source(const block::Reader& source, const block::Reader& target, const CopyOptions& options,
                     Progress& progress, std::stop_token stop) {
    const layout::DiskDescription to = describe_target(target);
    layout::DiskDescription from = layout::describe_disk(source, layout::Depth::kUsedExtents);
    const bool is_for_plan_to_refuse =
        !from.damaged_table.empty() || (from.incomplete && from.table.kind == TableKind::kNone) ||
        (!to.damaged_table.empty() && !to.incomplete && !options.ignore_target_table);
    if (is_for_plan_to_refuse) return {};
    return Shrinking(source, std::move(from), to, options, progress, std::move(stop)).run();
}

}  // namespace dupengine::engine
