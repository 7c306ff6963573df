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

}  // namespace

void fit_table(CopyPlan& plan, const block::Reader& source) {
    plan.table = plan.source.table;
    plan.table.sector_bytes = plan.sector_bytes;
    leave_out_source_profile(plan);
    refuse_too_small(plan, source);
    refuse_overlap_with_kept(plan);
    make_room_for_kept_numbers(plan);
    put_kept_entries_in(plan);
    if (plan.options.grow) find_growth(plan, source);
}

}  // namespace dupengine::engine
