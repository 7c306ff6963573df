// What of a larger target a filesystem of the source will fill: the last partition and its filesystem, or the
// one in front of a last swap partition, which then moves to the end (Debian's installer puts swap last).

#include <algorithm>

#include "block/find_data.h"
#include "engine/grow.h"
#include "engine/plan.h"
#include "layout/fat_growth.h"

namespace dupengine::engine {
namespace {

using layout::Partition;
using layout::TableKind;

// Why the filesystem cannot grow; empty if it can.
std::string why_it_keeps_its_size(const std::optional<layout::Signature>& signature,
                                  const layout::UsedExtents& used) {
    if (!signature) return "holds nothing that is known";
    if (!can_grow(signature->type)) return fmt::format("holds {}, which nothing here grows", signature->type);
    // Programs would refuse it as well, but only after hours of copying.
    if (used.whole) return fmt::format("holds {} that is copied whole ({})", signature->type, used.reason);
    return {};
}

// FAT is grown by ourselves, so what a program would look at first is looked at here, on the source.
std::string why_fat_keeps_its_size(const block::Reader& part, const layout::UsedExtents& used,
                                   std::uint64_t bytes, std::uint32_t sector_bytes) {
    if (!used.note.empty()) return "holds FAT that is not in order (" + used.note + ")";
    if (used.block_bytes < sector_bytes)
        return fmt::format("holds FAT of {} byte sectors on a disk of {}", used.block_bytes, sector_bytes);
    try {
        const layout::FatGrowth growth(part, bytes);
        growth.each_folder(part, [](ByteOffset, const Bytes&) {});
        return {};
    } catch (const Error& e) {
        return e.what();
    }
}

void note_kept_size(CopyPlan& plan, const std::string& who, const std::string& why) {
    plan.notes.push_back(fmt::format("--grow: {} {}; it keeps its size", who, why));
}

void note_what_growing_leaves(CopyPlan& plan) {
    if (plan.grow && plan.grow->filesystem == "ntfs")
        plan.notes.emplace_back(
            "--grow: the NTFS will be marked for a check: Windows runs chkdsk when it starts next");
}

// What bounds a range that begins at `from`: the next kept region or the usable end of the disk.
ByteOffset room_end(const CopyPlan& plan, ByteOffset from) {
    const std::uint64_t size = plan.target.geometry.size_bytes;
    block::Geometry geometry = plan.target.geometry;
    geometry.logical_sector_bytes = plan.sector_bytes;
    // Never over the end of the disk that is held back to the last: the filesystem would be checked without
    // it.
    ByteOffset end = layout::mark_extent_tail(geometry).begin;
    if (plan.table.mbr_extended && plan.table.mbr_extended->begin >= from)
        end = std::min(end, plan.table.mbr_extended->begin);
    if (plan.table.kind == TableKind::kGpt)
        end = std::min(end, std::prev(layout::table_extents(plan.table, size).end())->begin);
    if (plan.table.kind == TableKind::kMbr)  // 32 bits of sectors
        end = std::min<std::uint64_t>(end, std::uint64_t{0xFFFFFFFF} * plan.sector_bytes);
    for (const Kept& k : plan.kept)
        if (k.extent.begin >= from) end = std::min(end, k.extent.begin);
    return end;
}

// A filesystem that grows over data behind its end would destroy what was copied there.
bool is_blocked_by_data(CopyPlan& plan, const block::Reader& source, const std::string& who,
                        block::Extent behind) {
    const auto data = block::find_data(source, behind);
    if (data)
        plan.notes.push_back(fmt::format(
            "--grow: {} holds data behind its filesystem, at byte {} of the disk; it keeps its size", who,
            *data));
    return data.has_value();
}

void grow_whole_device(CopyPlan& plan, const block::Reader& source) {
    std::string why = why_it_keeps_its_size(plan.source.signature, plan.source.used);
    // It grows when the disk looks complete already (apply.cc), so what is half-grown has to show by itself.
    if (const std::string type = why.empty() ? plan.source.signature->type : "";
        type == "btrfs" || type == "f2fs" || type == "vfat")
        why = fmt::format("holds {} without a partition, of which a half-grown one could not be told", type);
    if (!why.empty()) return note_kept_size(plan, plan.source.name, why);
    const block::Extent before{0, plan.source.used.filesystem_bytes};
    const block::Extent after{0, align_down(room_end(plan, before.end), 4096)};
    if (after.end <= before.end) return;
    const block::Extent behind{before.end, std::min(after.end, plan.source.geometry.size_bytes)};
    if (is_blocked_by_data(plan, source, plan.source.name, behind)) return;
    plan.grow = GrowStep{0, before, after, plan.source.signature->type, {}};
}

// Of what is copied, the partition nearest to `limit` in front of it; null if there is none.
Partition* last_before(CopyPlan& plan, ByteOffset limit) {
    Partition* last = nullptr;
    for (Partition& p : plan.table.partitions) {
        const bool stays = std::any_of(plan.kept.begin(), plan.kept.end(),
                                       [&](const Kept& k) { return k.extent == p.extent; });
        if (!stays && p.extent.end <= limit && (last == nullptr || p.extent.end > last->extent.end))
            last = &p;
    }
    return last;
}

// Lets the partition and its filesystem end at `end`, or says why not.
void grow_partition(CopyPlan& plan, const block::Reader& source, Partition& partition, ByteOffset end) {
    const auto* described = plan.source.by_number(partition.number);
    if (described == nullptr || end <= partition.extent.end) return;
    const std::string who = fmt::format("partition {}", partition.number);
    std::string why = partition.mbr_logical ? "is a logical partition"
                                            : why_it_keeps_its_size(described->signature, described->used);
    const block::Extent before = partition.extent, after{before.begin, end};
    if (why.empty() && before.begin < late_extents(plan.target.geometry, plan.sector_bytes).begin()->end)
        why = "begins in the first sectors";
    if (!why.empty()) return note_kept_size(plan, who, why);
    const block::Extent behind{before.begin + described->used.filesystem_bytes, before.end};
    if (described->used.filesystem_bytes != 0 && is_blocked_by_data(plan, source, who, behind)) return;
    if (described->signature->type == "vfat") {
        const block::Window part(source, before, source.name());
        why = why_fat_keeps_its_size(part, described->used, after.size(), plan.sector_bytes);
        if (!why.empty()) return note_kept_size(plan, who, why);
    }
    partition.extent = after;
    plan.grow = GrowStep{partition.number, before, after, described->signature->type, {}};
}

// Where what goes with the swap begins: itself, or the extended partition around a logical one.
ByteOffset edge_of(const CopyPlan& plan, const Partition& swap) {
    return swap.mbr_logical ? plan.table.mbr_extended->begin : swap.extent.begin;
}

// Why the swap has to stay where it is; empty if it can be made anew elsewhere. Its content means nothing
// once the machine is off, unless that hibernated.
std::string why_swap_stays(const CopyPlan& plan, const block::Reader& source,
                           const layout::PartitionDescription& swap, const Partition* front) {
    constexpr std::uint64_t kVersionAt = 1024, kBadPagesAt = 1032;  // include/linux/swap.h, union swap_header
    const block::Extent place = swap.partition.extent;
    if (front == nullptr) return "nothing is in front of it";
    const auto is_logical = [](const Partition& p) { return p.mbr_logical; };
    if (swap.partition.mbr_logical &&
        std::count_if(plan.table.partitions.begin(), plan.table.partitions.end(), is_logical) != 1)
        return "other logical partitions are beside it";
    const block::Extent between{front->extent.end, place.begin};
    for (const Kept& kept : plan.kept)
        if (kept.extent.touches(between)) return kept.name + " is in front of it";
    if (!swap.partition.mbr_logical && plan.table.mbr_extended && plan.table.mbr_extended->touches(between))
        return "an extended partition is in front of it";
    if (swap.used.whole) return swap.used.reason;
    const Bytes header = block::read_extent(source, {place.begin, place.begin + 4 * kKiB});
    if (load_le<std::uint32_t>(header, kVersionAt) != 1) return "a machine of the other byte order made it";
    if (load_le<std::uint32_t>(header, kBadPagesAt) != 0) return "it lists bad pages";
    if (block::find_data(source, {place.begin + swap.used.filesystem_bytes, place.end}))
        return "there is data behind it";
    return {};
}

// The extended partition around a logical one goes with it, boot record and all.
void move_partition(CopyPlan& plan, Partition& partition, block::Extent to) {
    const std::uint64_t distance = to.begin - partition.extent.begin;
    if (partition.mbr_logical) {
        plan.table.mbr_extended = block::Extent{plan.table.mbr_extended->begin + distance, to.end};
        for (layout::BootRecord& record : plan.table.mbr_chain)
            record.offset += distance;
    }
    partition.extent = to;
}

// The swap goes to the end, and what was in front of it grows up to there.
void grow_in_front_of_swap(CopyPlan& plan, const block::Reader& source, Partition& swap,
                           const layout::PartitionDescription& described, ByteOffset end) {
    const ByteOffset edge = edge_of(plan, swap);
    Partition* const front = last_before(plan, edge);
    const std::string why = why_swap_stays(plan, source, described, front);
    if (!why.empty())
        return note_kept_size(plan, fmt::format("partition {}", swap.number),
                              fmt::format("is the last one, and swap that stays where it is ({})", why));
    const block::Extent before = swap.extent;
    const ByteOffset begin = align_down(end - std::min(end, before.size()), kMiB);
    if (begin <= before.begin) return;
    grow_partition(plan, source, *front, align_down(edge + (begin - before.begin), kMiB));
    if (!plan.grow) return;
    const block::Extent after{begin, begin + before.size()};
    plan.grow->swap = SwapMove{swap.number,
                               before,
                               after,
                               described.used.block_bytes,
                               described.signature->uuid,
                               described.signature->label};
    move_partition(plan, swap, after);
    plan.notes.push_back(
        fmt::format("--grow: swap partition {} moves to the end and is made anew there, with the "
                    "same identifiers",
                    swap.number));
}

void grow_last_partition(CopyPlan& plan, const block::Reader& source) {
    Partition* const last = last_before(plan, plan.target.geometry.size_bytes);
    if (last == nullptr) return;
    const ByteOffset end = align_down(room_end(plan, last->extent.end), kMiB);
    const auto* described = plan.source.by_number(last->number);
    if (described != nullptr && described->signature && described->signature->type == "swap")
        grow_in_front_of_swap(plan, source, *last, *described, end);
    else
        grow_partition(plan, source, *last, end);
}

}  // namespace

void find_growth(CopyPlan& plan, const block::Reader& source) {
    if (plan.table.kind == TableKind::kNone)
        grow_whole_device(plan, source);
    else
        grow_last_partition(plan, source);
    note_what_growing_leaves(plan);
}

}  // namespace dupengine::engine
