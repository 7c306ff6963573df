// Which bytes are copied and which are made zero.

#include <algorithm>

#include "engine/plan.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using layout::TableKind;

// Boot loaders live between the table and the first partition (GRUB's core image, U-Boot): bytes no table
// names.
constexpr std::uint64_t kBootGap = 16 * kMiB;

ExtentSet boot_gap(const CopyPlan& plan) {
    ByteOffset first = plan.source.geometry.size_bytes;
    for (const auto& p : plan.source.table.partitions)
        first = std::min(first, p.extent.begin);
    if (plan.source.table.mbr_extended) first = std::min(first, plan.source.table.mbr_extended->begin);
    return {Extent{0, std::min<std::uint64_t>(first, kBootGap)}};
}

// In the order of the disk, whatever their numbers are: extents are appended to a set at no cost, but each
// one that goes in front of others moves all of them.
std::vector<const layout::PartitionDescription*> copied_partitions(const CopyPlan& plan) {
    std::vector<const layout::PartitionDescription*> copied;
    for (const auto& p : plan.source.partitions)
        if (plan.table.by_number(p.partition.number) != nullptr)  // not there: the source's profile
            copied.push_back(&p);
    std::sort(copied.begin(), copied.end(), [](const auto* a, const auto* b) {
        return a->partition.extent.begin < b->partition.extent.begin;
    });
    return copied;
}

ExtentSet used_of_source(const CopyPlan& plan) {
    if (plan.source.table.kind == TableKind::kNone) return plan.source.used.used;
    ExtentSet used = boot_gap(plan);
    for (const auto* p : copied_partitions(plan))
        used.insert(p->used.used.shifted(p->partition.extent.begin).clipped_to(p->partition.extent));
    return used;
}

// What the source's filesystems count on to read as zeros, whatever is to become of unused ranges.
ExtentSet blank_of_source(const CopyPlan& plan) {
    if (plan.source.table.kind == TableKind::kNone) return plan.source.used.blank;
    ExtentSet blank;
    for (const auto* p : copied_partitions(plan))
        blank.insert(p->used.blank.shifted(p->partition.extent.begin).clipped_to(p->partition.extent));
    return blank;
}

}  // namespace

void find_spans(CopyPlan& plan) {
    const Extent target{0, plan.target.geometry.size_bytes};
    ExtentSet kept;
    for (const Kept& k : plan.kept)
        kept.insert(k.extent);

    // Sectors, not pages: what lies beside a small block may be a deleted file.
    plan.data = used_of_source(plan).aligned_outwards(plan.sector_bytes, target.end);
    plan.data.erase(kept);
    if (plan.source.table.kind == TableKind::kGpt)
        for (const auto& p : plan.source.table.partitions)
            if (p.type_guid == layout::type_guid::kProfile) plan.data.erase(p.extent);

    plan.zero = plan.options.unused != Unused::kKeep ? plan.data.gaps_in(target) : blank_of_source(plan);
    plan.zero.erase(plan.data);
    plan.zero.erase(kept);
}

}  // namespace dupengine::engine
