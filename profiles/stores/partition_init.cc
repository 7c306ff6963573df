#include "profiles/stores/partition_init.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "block/open.h"
#include "layout/in_use.h"
#include "layout/incomplete_mark.h"
#include "layout/signature.h"

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

PartitionPlan look_and_plan(const block::Reader& reader, const PartitionRequest& request,
                            RandomSource& random) {
    const std::uint64_t size = reader.geometry().size_bytes;
    if (layout::find_mark(reader))
        throw_error(Code::kRefused, "{}: a copy onto it was begun and has not ended; complete that first",
                    reader.name());
    PartitionPlan plan =
        plan_profile_partition(layout::read_partition_table(reader), size, request, random, reader.name());
    if (plan.new_table) check_blank(reader, extents_to_write(plan, size));
    if (!plan.new_partition)
        check_replaceable(read_slots(reader, plan.partition.extent), "partition:" + reader.name(),
                          request.replace_damaged);
    return plan;
}

// The same disk as when it was planned: nothing but our own partition is new.
void check_unchanged(const block::Reader& disk, const PartitionPlan& plan) {
    auto planned = plan.table.partitions;
    if (plan.new_partition) std::erase(planned, plan.partition);
    const auto kind = plan.new_table ? layout::TableKind::kNone : layout::TableKind::kGpt;
    const layout::PartitionTable now = layout::read_partition_table(disk);
    if (now.kind != kind || now.partitions != planned)
        throw_error(Code::kRefused, "{}: its partition table changed meanwhile; try again", disk.name());
}

}  // namespace

PartitionPlan prepare_partition_store(const std::string& disk, const PartitionRequest& request,
                                      RandomSource& random) {
    check_not_in_use(disk);
    const auto reader = block::open_source(disk);
    try {
        return look_and_plan(*reader, request, random);
    } catch (Error& e) {
        // Here the disk is a target, and nothing was written.
        if (e.code() == Code::kIntegrity) e.set_code(Code::kRefused);
        throw;
    }
}

void apply_profile_partition(block::Target& target, const PartitionPlan& plan, const StoredProfile& first) {
    if (!plan.new_partition) return write_slot(target, plan.partition.extent, first);
    const layout::TableImage image = layout::encode_table(plan.table, target.geometry().size_bytes);
    write_first_slots(target, plan.partition.extent, first);
    write_pieces(target, image.backup);
    write_pieces(target, image.primary);
    compare_pieces(target, image.backup);
    compare_pieces(target, image.primary);
}

void init_partition_store(const std::string& disk, const PartitionPlan& plan, const StoredProfile& first) {
    const std::uint64_t size = block::open_source(disk)->geometry().size_bytes;
    const bool is_file = !block::identify(disk).is_block_device;
    const auto target = block::open_target(
        disk,
        block::ProtectedRegions::all_except(extents_to_write(plan, size), size, "the profile and the table"),
        is_file ? std::optional(plan.table.sector_bytes) : std::nullopt);
    check_unchanged(*target, plan);
    apply_profile_partition(*target, plan, first);
}

}  // namespace dupengine::profiles
