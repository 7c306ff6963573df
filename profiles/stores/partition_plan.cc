// Where a new profile partition goes.

#include <algorithm>

#include "profiles/names.h"
#include "profiles/stores/partition.h"
#include "profiles/stores/partition_init.h"

namespace dupengine::profiles {
namespace {

using layout::Partition;
using layout::PartitionTable;

constexpr const char* kPartitionName = "dupengine-profile";
// UEFI 2.10 table 5-8: the platform requires it, so tools warn before they delete it. Discoverable Partitions
// Specification: never mounted by itself.
constexpr std::uint64_t kAttributes = (std::uint64_t{1} << 0) | (std::uint64_t{1} << 63);

PartitionTable new_table(std::uint32_t sector_bytes, RandomSource& random) {
    PartitionTable table;
    table.kind = layout::TableKind::kGpt;
    table.sector_bytes = sector_bytes;
    table.disk_guid = random.guid();
    return table;
}

// The highest free number: sources number their partitions from 1, and must not meet ours when they are
// copied here.
unsigned choose_number(const PartitionTable& table, std::optional<unsigned> wanted,
                       const std::string& disk_name) {
    if (wanted) {
        if (*wanted < 1 || *wanted > table.entry_count)
            throw_error(Code::kUsage, "{}: its table has numbers 1 to {}, not {}", disk_name,
                        table.entry_count, *wanted);
        if (table.by_number(*wanted) != nullptr)
            throw_error(Code::kRefused, "{}: partition {} is there already", disk_name, *wanted);
        return *wanted;
    }
    for (unsigned number = table.entry_count; number >= 1; --number)
        if (table.by_number(number) == nullptr) return number;
    throw_error(Code::kRefused, "{}: its table has no free entry", disk_name);
}

// The last whole MiBs between the two copies of the table.
block::Extent choose_extent(const PartitionTable& table, std::uint64_t disk_bytes, std::uint64_t size_bytes,
                            const std::string& disk_name) {
    const block::ExtentSet usable = layout::table_extents(table, disk_bytes).gaps_in({0, disk_bytes});
    const block::Extent widest = usable.empty() ? block::Extent{} : *usable.begin();
    const std::uint64_t unit = std::max<std::uint64_t>(kMiB, table.sector_bytes);
    const ByteOffset first = align_up(widest.begin, unit), end = align_down(widest.end, unit);
    if (end < first || end - first < size_bytes)
        throw_error(Code::kRefused, "{}: has no room for a profile partition of {} bytes", disk_name,
                    size_bytes);
    const block::Extent place{end - size_bytes, end};
    for (const Partition& partition : table.partitions)
        if (partition.extent.touches({place.begin, disk_bytes}))
            throw_error(Code::kRefused,
                        "{}: partition {} {} reaches to byte {}, and a profile of {} bytes goes to the end "
                        "of the disk from "
                        "byte {}; shrink or move it, or ask for a smaller --size",
                        disk_name, partition.number, quoted(partition.name), partition.extent.end, size_bytes,
                        place.begin);
    return place;
}

void check_table(const PartitionTable& table, const std::string& disk_name) {
    if (table.kind == layout::TableKind::kMbr)
        throw_error(Code::kRefused,
                    "{}: has an MBR, in which a profile partition cannot be told from others; convert it to "
                    "GPT (sgdisk --mbrtogpt), or keep the profile elsewhere (--store file:PATH)",
                    disk_name);
    if (table.kind == layout::TableKind::kGpt && !table.primary_valid)
        throw_error(Code::kRefused,
                    "{}: its first GPT is damaged, only the backup is whole; repair it first (gdisk, sgdisk)",
                    disk_name);
}

}  // namespace

PartitionPlan plan_profile_partition(PartitionTable table, std::uint64_t disk_bytes,
                                     const PartitionRequest& request, RandomSource& random,
                                     const std::string& disk_name) {
    check_table(table, disk_name);
    PartitionPlan plan;
    if (const auto there = profile_place_in(table, disk_name)) {
        plan.partition = *table.by_number(*there->number);
        plan.new_partition = false;
        plan.table = std::move(table);
        return plan;
    }
    if (request.size_bytes < kStoreMinimumBytes)
        throw_error(Code::kUsage, "a profile partition has at least {} bytes, not {}", kStoreMinimumBytes,
                    request.size_bytes);
    plan.new_table = table.kind == layout::TableKind::kNone;
    if (plan.new_table) table = new_table(table.sector_bytes, random);
    plan.partition.number = choose_number(table, request.number, disk_name);
    plan.partition.extent = choose_extent(table, disk_bytes, align_up(request.size_bytes, kMiB), disk_name);
    plan.partition.type_guid = layout::type_guid::kProfile;
    plan.partition.guid = random.guid();
    plan.partition.name = kPartitionName;
    plan.partition.attributes = kAttributes;
    table.partitions.push_back(plan.partition);
    std::sort(table.partitions.begin(), table.partitions.end(),
              [](const Partition& a, const Partition& b) { return a.number < b.number; });
    plan.table = std::move(table);
    return plan;
}

block::ExtentSet extents_to_write(const PartitionPlan& plan, std::uint64_t disk_bytes) {
    block::ExtentSet extents;
    extents.insert(plan.partition.extent);
    if (!plan.new_partition) return extents;
    const layout::TableImage image = layout::encode_table(plan.table, disk_bytes);
    for (const auto* pieces : {&image.primary, &image.backup})
        for (const auto& piece : *pieces)
            extents.insert({piece.offset, piece.offset + piece.content.size()});
    return extents;
}

}  // namespace dupengine::profiles
