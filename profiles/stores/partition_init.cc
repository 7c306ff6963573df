#include "profiles/stores/partition_init.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "block/open.h"
#include "layout/in_use.h"
#include "layout/incomplete_mark.h"
#include "layout/signature.h"
#include "profiles/stores/partition_resume.h"

namespace dupengine::profiles {
namespace {

void check_not_in_use(const std::string& disk) {
    const auto uses = layout::find_uses(disk);
    if (uses.empty()) return;
    throw_error(Code::kRefused, "{}: is in use, and its table is not changed under others: {}: {}", disk,
                uses.front().device, uses.front().detail);
}

// A disk without a table gets one only if nothing that we would overwrite can be anybody's data.
void check_blank(const block::Reader& disk, const block::ExtentSet& to_write) {
    if (const auto signature = layout::probe_signature(disk))
        throw_error(Code::kRefused,
                    "{}: holds {} without a partition table; wipe it first (wipefs -a) if that may go",
                    disk.name(), signature->type);
    AlignedBuffer buffer(kMiB);
    for (block::Extent extent : to_write)
        for (ByteOffset at = extent.begin; at < extent.end; at += kMiB) {
            const auto part = buffer.first(std::min<std::uint64_t>(kMiB, extent.end - at));
            disk.read(at, part);
            if (!is_zero(part))
                throw_error(Code::kRefused,
                            "{}: has no partition table, but is not blank (bytes from {}); wipe it first "
                            "(blkdiscard, "
                            "wipefs -a) or make a GPT (sgdisk -o) if that may go",
                            disk.name(), at);
        }
}

void write_pieces(block::Target& target, const std::vector<layout::TableImage::Piece>& pieces) {
    for (const auto& piece : pieces)
        target.write(piece.offset, piece.content);
    target.flush();
}

void compare_pieces(const block::Target& target, const std::vector<layout::TableImage::Piece>& pieces) {
    for (const auto& piece : pieces) {
        Bytes back(piece.content.size());
        target.read_from_medium(piece.offset, back);
        if (back != piece.content)
            throw_error(Code::kIntegrity, "{}: the partition table came back different at byte {}",
                        target.name(), piece.offset);
    }
}

// The slots of a partition that is not in the table yet: whatever lies there is free space, and goes.
void write_first_slots(block::Target& target, block::Extent extent, const StoredProfile& first) {
    target.zero(extent, block::Device::Zeroing::kAllocate);
    target.flush();
    write_slot(target, extent, first);
}

// The same disk as when it was planned: nothing but our own partition is new.
void check_unchanged(const block::Reader& disk, const PartitionPlan& plan) {
    const layout::PartitionTable now = layout::read_partition_table(disk);
    auto planned = plan.table.partitions;
    const bool is_named = now.by_guid(plan.partition.guid) != nullptr;
    if (plan.new_partition && !(plan.profile_is_there && is_named)) std::erase(planned, plan.partition);
    const auto kind = plan.new_table ? layout::TableKind::kNone : layout::TableKind::kGpt;
    if (now.kind != kind || now.partitions != planned)
        throw_error(Code::kRefused, "{}: its partition table changed meanwhile; try again", disk.name());
}

// A disk without a table: blank, or left by an init that was cut.
void take_up_or_require_blank(const block::Reader& disk, PartitionPlan& plan, const StoredProfile& first) {
    if (holds_rest_of_init(disk, plan, first)) {
        plan.profile_is_there = holds_first_profile(disk, plan.partition.extent, first);
        return;
    }
    if (const auto there = read_slots(disk, plan.partition.extent).newest)
        throw_error(
            Code::kRefused,
            "{}: holds a profile (generation {}) at {} that no table names: `profile init` was cut, or "
            "the table was lost. Run it again with the same --from, and change the profile afterwards; "
            "or wipe it (blkdiscard) if that may go",
            disk.name(), there->generation, plan.partition.extent.text());
    check_blank(disk, extents_to_write(plan, disk.geometry().size_bytes));
}

}  // namespace

PartitionPlan plan_on_disk(const block::Reader& disk, const PartitionRequest& request,
                           const StoredProfile& first, RandomSource& random) {
    const std::uint64_t size = disk.geometry().size_bytes;
    if (layout::find_mark(disk))
        throw_error(Code::kRefused, "{}: a copy onto it was begun and has not ended; complete that first",
                    disk.name());
    layout::PartitionTable table = layout::read_partition_table(disk);
    if (is_table_of_cut_init(disk, table, first)) {
        PartitionPlan plan;
        plan.profile_is_there = true;
        plan.partition = *table.by_type(layout::type_guid::kProfile);
        plan.table = std::move(table);
        return plan;
    }
    PartitionPlan plan = plan_profile_partition(std::move(table), size, request, random, disk.name());
    if (plan.new_table) take_up_or_require_blank(disk, plan, first);
    if (!plan.new_partition)
        check_replaceable(read_slots(disk, plan.partition.extent), "partition:" + disk.name(),
                          request.replace_damaged);
    return plan;
}

PartitionPlan prepare_partition_store(const std::string& disk, const PartitionRequest& request,
                                      const StoredProfile& first, RandomSource& random) {
    check_not_in_use(disk);
    const auto reader = block::open_source(disk);
    try {
        return plan_on_disk(*reader, request, first, random);
    } catch (Error& e) {
        // Here the disk is a target, and nothing was written.
        if (e.code() == Code::kIntegrity) e.set_code(Code::kRefused);
        throw;
    }
}

void apply_profile_partition(block::Target& target, const PartitionPlan& plan, const StoredProfile& first) {
    if (!plan.new_partition) return write_slot(target, plan.partition.extent, first);
    const layout::TableImage image = layout::encode_table(plan.table, target.geometry().size_bytes);
    if (!plan.profile_is_there) write_first_slots(target, plan.partition.extent, first);
    write_pieces(target, image.backup);
    write_pieces(target, image.primary);
    compare_pieces(target, image.backup);
    compare_pieces(target, image.primary);
}

void init_partition_store(const std::string& disk, const PartitionPlan& plan, const StoredProfile& first) {
    const std::uint64_t size = block::open_source(disk)->geometry().size_bytes;
    const bool is_file = !block::identify(disk).is_block_device;
    auto target = block::open_target(
        disk,
        block::ProtectedRegions::all_except(extents_to_write(plan, size), size, "the profile and the table"),
        is_file ? std::optional(plan.table.sector_bytes) : std::nullopt);
    check_unchanged(*target, plan);
    apply_profile_partition(*target, plan, first);
    target.reset();
    // For the partition's own device. Nothing is lost without: the store is found through the disk, too.
    if (plan.new_partition) block::announce_partition(disk, plan.partition.number, plan.partition.extent);
}

}  // namespace dupengine::profiles
