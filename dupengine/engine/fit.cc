// The target's table: the source's, with the kept entries in it, fitted to the target's size.

#include <algorithm>

#include "base/units.h"
#include "block/find_data.h"
#include "engine/plan.h"

namespace dupengine::engine {
namespace {

using layout::Partition;
using layout::TableKind;

bool is_profile(const Partition& p) {
    return p.type_guid == layout::type_guid::kProfile;
}

// A source that is itself a duplicate has a profile of its own: it says who the source is, and stays there.
void leave_out_source_profile(CopyPlan& plan) {
    if (plan.table.kind != TableKind::kGpt) return;
    for (const Partition& p : plan.table.partitions)
        if (is_profile(p))
            plan.notes.push_back(
                fmt::format("the source's own profile (partition {}) is not copied", p.number));
    std::erase_if(plan.table.partitions, is_profile);
}

void refuse_overlap_with_kept(const CopyPlan& plan) {
    for (const Kept& kept : plan.kept) {
        for (const Partition& p : plan.table.partitions)
            if (p.extent.touches(kept.extent))
                throw_error(Code::kRefused,
                            "{}: partition {} of the source would lie on {}, which stays; move it with "
                            "`profile init` "
                            "at another place, or shrink the source's partition",
                            plan.target.name, p.number, kept.name);
        if (plan.table.kind == TableKind::kNone && kept.extent.begin < plan.source.geometry.size_bytes)
            throw_error(Code::kRefused,
                        "{}: the source has no partition table and would lie on {}, which stays",
                        plan.target.name, kept.name);
    }
}

// What the entries of one copy of a GPT and its header take.
std::uint64_t copy_bytes(const CopyPlan& plan, std::uint32_t entry_count) {
    const std::uint64_t entries = std::uint64_t{entry_count} * plan.table.entry_bytes;
    return align_up(entries, plan.sector_bytes) + plan.sector_bytes;
}

// A source with fewer entries than the standard's 128 gets those if a kept number needs them and both ends
// of the disk have room.
void make_room_for_kept_numbers(CopyPlan& plan) {
    constexpr std::uint32_t kStandardEntries = 128;
    unsigned highest = 0;
    for (const Kept& kept : plan.kept)
        if (kept.entry) highest = std::max(highest, kept.entry->number);
    if (plan.table.kind != TableKind::kGpt || highest <= plan.table.entry_count || highest > kStandardEntries)
        return;
    const std::uint64_t needed = copy_bytes(plan, kStandardEntries), size = plan.target.geometry.size_bytes;
    if (size < needed) return;
    const ByteOffset first = (plan.table.entries_lba - 1) * plan.sector_bytes + needed;
    for (const Partition& p : plan.table.partitions)
        if (p.extent.begin < first || p.extent.end > size - needed) return;
    plan.notes.push_back(fmt::format("the partition table grows from {} to {} entries, for number {}",
                                     plan.table.entry_count, kStandardEntries, highest));
    plan.table.entry_count = kStandardEntries;
}

void put_kept_entries_in(CopyPlan& plan) {
    for (const Kept& kept : plan.kept) {
        if (!kept.entry) continue;
        if (plan.table.kind != TableKind::kGpt)
            throw_error(
                Code::kRefused,
                "{}: {} must keep its table entry, but the source has {} table; only a GPT can hold it",
                plan.target.name, kept.name, plan.table.kind == TableKind::kMbr ? "an MBR" : "no");
        const Partition& entry = *kept.entry;
        if (plan.table.by_number(entry.number) != nullptr)
            throw_error(Code::kRefused,
                        "{}: {} has number {}, and so has a partition of the source; renumber one of them",
                        plan.target.name, kept.name, entry.number);
        if (plan.table.by_guid(entry.guid) != nullptr)
            throw_error(Code::kRefused, "{}: {} and a partition of the source have the same GUID {}",
                        plan.target.name, kept.name, entry.guid.text());
        if (entry.number > plan.table.entry_count)
            throw_error(
                Code::kRefused,
                "{}: {} has number {}, but the source's table holds only {} and has no room for more; "
                "give the kept partition a lower number",
                plan.target.name, kept.name, entry.number, plan.table.entry_count);
        plan.table.partitions.push_back(entry);
    }
    std::sort(plan.table.partitions.begin(), plan.table.partitions.end(),
              [](const Partition& a, const Partition& b) { return a.number < b.number; });
}

// A filesystem smaller than its disk fits on a smaller one, if nothing behind it would be lost.
void refuse_too_small_for_bare(const CopyPlan& plan, const block::Reader& source) {
    const std::uint64_t size = plan.target.geometry.size_bytes;
    const auto& used = plan.source.used;
    const std::uint64_t need =
        used.whole || used.filesystem_bytes == 0 ? plan.source.geometry.size_bytes : used.filesystem_bytes;
    if (size < need)
        throw_error(
            Code::kRefused,
            "{}: too small: {} bytes, and the source's content needs {}; --shrink makes an ext, NTFS or "
            "btrfs filesystem fit that holds little enough",
            plan.target.name, size, need);
    if (size >= plan.source.geometry.size_bytes) return;
    if (const auto data = block::find_data(source, {size, plan.source.geometry.size_bytes}))
        throw_error(Code::kRefused,
                    "{}: too small: {} bytes, and the source holds data behind its filesystem, at byte {}",
                    plan.target.name, size, *data);
}

// One line for the commonest mistake, before the encoder's more technical one.
void refuse_too_small(const CopyPlan& plan, const block::Reader& source) {
    const std::uint64_t size = plan.target.geometry.size_bytes;
    if (plan.table.kind == TableKind::kNone) return refuse_too_small_for_bare(plan, source);
    for (const Partition& p : plan.table.partitions) {
        // GPT keeps its backup behind the last partition; an MBR needs nothing there.
        const std::uint64_t behind =
            plan.table.kind == TableKind::kGpt ? copy_bytes(plan, plan.table.entry_count) : 0;
        if (p.extent.end > size || size - p.extent.end < behind)
            throw_error(Code::kRefused,
                        "{}: too small: {} bytes; partition {} of the source ends at {}{}. --shrink makes "
                        "it fit, if its filesystems hold little enough",
                        plan.target.name, size, p.number, p.extent.end,
                        behind != 0 ? fmt::format(", and the table's backup needs {} more", behind) : "");
    }
}

bool can_grow(const std::optional<layout::Signature>& signature) {
    return signature && (signature->type == "ext2" || signature->type == "ext3" || signature->type == "ext4");
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
    if (!can_grow(plan.source.signature)) {
        plan.notes.push_back(
            fmt::format("--grow: there is no ext filesystem to grow on {}", plan.source.name));
        return;
    }
    const block::Extent before{0, plan.source.used.filesystem_bytes};
    const block::Extent after{0, align_down(room_end(plan, before.end), 4096)};
    if (after.end <= before.end) return;
    const block::Extent behind{before.end, std::min(after.end, plan.source.geometry.size_bytes)};
    if (is_blocked_by_data(plan, source, plan.source.name, behind)) return;
    plan.grow = GrowStep{0, before, after, plan.source.signature->type};
}

void grow_last_partition(CopyPlan& plan, const block::Reader& source) {
    Partition* last = nullptr;
    for (Partition& p : plan.table.partitions) {
        const bool stays = std::any_of(plan.kept.begin(), plan.kept.end(),
                                       [&](const Kept& k) { return k.extent == p.extent; });
        if (!stays && (last == nullptr || p.extent.end > last->extent.end)) last = &p;
    }
    if (last == nullptr) return;
    const auto* described = plan.source.by_number(last->number);
    if (last->mbr_logical || described == nullptr || !can_grow(described->signature)) {
        plan.notes.push_back(
            fmt::format("--grow: partition {} is the last one and {}; it keeps its size", last->number,
                        last->mbr_logical ? "is a logical partition" : "holds no ext filesystem"));
        return;
    }
    const block::Extent before = last->extent;
    if (before.begin < late_extents(plan.target.geometry, plan.sector_bytes).begin()->end) {
        plan.notes.push_back(
            fmt::format("--grow: partition {} begins in the first sectors; it keeps its size", last->number));
        return;
    }
    const block::Extent after{before.begin,
                              std::max(before.end, align_down(room_end(plan, before.end), kMiB))};
    if (after == before) return;
    const block::Extent behind{before.begin + described->used.filesystem_bytes, before.end};
    if (described->used.filesystem_bytes != 0 &&
        is_blocked_by_data(plan, source, fmt::format("partition {}", last->number), behind))
        return;
    last->extent = after;
    plan.grow = GrowStep{last->number, before, after, described->signature->type};
}

}  // namespace

void fit_table(CopyPlan& plan, const block::Reader& source) {
    plan.table = plan.source.table;
    plan.table.sector_bytes = plan.sector_bytes;
    leave_out_source_profile(plan);
    refuse_too_small(plan, source);
    refuse_overlap_with_kept(plan);
    make_room_for_kept_numbers(plan);
    put_kept_entries_in(plan);
    if (!plan.options.grow) return;
    if (plan.table.kind == TableKind::kNone)
        grow_whole_device(plan, source);
    else
        grow_last_partition(plan, source);
}

}  // namespace dupengine::engine
