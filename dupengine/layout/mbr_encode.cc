// The bytes of an MBR and its extended boot records. The engine decides when they are written.

#include <algorithm>

#include "layout/mbr.h"
#include "layout/partition_checks.h"

namespace dupengine::layout::mbr {
namespace {

struct Node {
    ByteOffset offset;
    const Partition* partition;
};

std::vector<const Partition*> logicals_of(const PartitionTable& table) {
    std::vector<const Partition*> logicals;
    for (const Partition& partition : table.partitions)
        if (partition.mbr_logical) logicals.push_back(&partition);
    std::sort(logicals.begin(), logicals.end(),
              [](const Partition* a, const Partition* b) { return a->number < b->number; });
    return logicals;
}

// The entry for `extent` in a record from which addresses count. Throws kRefused for what 32 bits cannot say.
Entry entry_for(block::Extent extent, ByteOffset base, std::uint8_t type, bool active,
                const PartitionTable& table) {
    const std::uint64_t start = (extent.begin - base) / table.sector_bytes;
    const std::uint64_t sectors = extent.size() / table.sector_bytes;
    if (extent.begin / table.sector_bytes > kMaxLba || sectors > kMaxLba)
        throw_error(Code::kRefused, "MBR: {} lies behind what 32-bit sector numbers reach; a GPT is needed",
                    extent.text());
    return {std::uint8_t(active ? 0x80 : 0), type, static_cast<std::uint32_t>(start),
            static_cast<std::uint32_t>(sectors)};
}

// What a record says of its own logical partition, as bytes on the disk.
struct Described {
    block::Extent extent;
    std::uint8_t type;
    bool active;
};

std::optional<Described> described_by(const BootRecord& record, std::uint64_t sector_bytes) {
    for (std::size_t slot = 0; slot < 2; ++slot) {
        const Entry entry = load_entry(record.sector, slot);
        if (!entry.used() || entry.extended()) continue;
        const ByteOffset begin = record.offset + entry.start * sector_bytes;
        return Described{{begin, begin + entry.sectors * sector_bytes}, entry.type, entry.status == 0x80};
    }
    return {};
}

bool chain_is_unchanged(const PartitionTable& table, const std::vector<const Partition*>& logicals) {
    if (table.mbr_chain.empty() || table.mbr_chain.front().offset != table.mbr_extended->begin) return false;
    std::size_t next = 0;
    for (const BootRecord& record : table.mbr_chain) {
        const auto described = described_by(record, table.sector_bytes);
        if (!described) continue;
        if (next == logicals.size() || logicals[next]->extent != described->extent ||
            logicals[next]->mbr_type != described->type || logicals[next]->mbr_active != described->active)
            return false;
        ++next;
    }
    return next == logicals.size();
}

bool is_free(ByteOffset offset, const PartitionTable& table, const std::vector<Node>& nodes) {
    const block::Extent sector{offset, offset + table.sector_bytes};
    return std::none_of(table.partitions.begin(), table.partitions.end(),
                        [&](const Partition& p) { return p.extent.touches(sector); }) &&
           std::none_of(nodes.begin(), nodes.end(), [&](const Node& node) { return node.offset == offset; });
}

// The sector of a record: where it was, else at the distances that are usual: 1 MiB, a track, one sector.
ByteOffset place_for(const Partition& partition, const PartitionTable& table,
                     const std::vector<Node>& nodes) {
    std::vector<ByteOffset> candidates;
    for (const BootRecord& record : table.mbr_chain) {
        const auto described = described_by(record, table.sector_bytes);
        if (described && described->extent.begin == partition.extent.begin)
            candidates.push_back(record.offset);
    }
    for (const std::uint64_t distance :
         {kMiB, std::uint64_t{63} * table.sector_bytes, std::uint64_t{table.sector_bytes}})
        if (partition.extent.begin >= distance) candidates.push_back(partition.extent.begin - distance);
    for (const ByteOffset offset : candidates)
        if (offset > table.mbr_extended->begin && table.mbr_extended->contains(offset) &&
            is_free(offset, table, nodes))
            return offset;
    throw_error(Code::kRefused,
                "logical partition {}: there is no free sector in front of it for its boot record",
                partition.number);
}

// The chain starts with the extended partition itself; from there any partition can be described.
std::vector<Node> lay_chain(const PartitionTable& table, const std::vector<const Partition*>& logicals) {
    std::vector<Node> nodes = {{table.mbr_extended->begin, nullptr}};
    if (!is_free(nodes.front().offset, table, {}))
        throw_error(Code::kRefused, "MBR: a partition covers the first extended boot record (byte {})",
                    nodes.front().offset);
    for (const Partition* partition : logicals) {
        if (nodes.size() == 1 && nodes.front().partition == nullptr)
            nodes.front().partition = partition;
        else
            nodes.push_back({place_for(*partition, table, nodes), partition});
    }
    return nodes;
}

Bytes original_sector(const PartitionTable& table, ByteOffset offset) {
    for (const BootRecord& record : table.mbr_chain)
        if (record.offset == offset) return record.sector;
    return Bytes(table.sector_bytes);
}

BootRecord encode_node(const PartitionTable& table, const Node& node, const Node* next) {
    BootRecord record{node.offset, original_sector(table, node.offset)};
    Entry data, link;
    if (node.partition != nullptr)
        data = entry_for(node.partition->extent, node.offset, node.partition->mbr_type,
                         node.partition->mbr_active, table);
    block::Extent rest;
    if (next != nullptr) {
        rest = {next->offset, next->partition->extent.end};
        link = entry_for(rest, table.mbr_extended->begin, 0x05, false, table);
    }
    store_entry(record.sector, 0, data,
                node.partition != nullptr ? node.partition->extent.begin / table.sector_bytes : 0);
    store_entry(record.sector, 1, link, rest.begin / table.sector_bytes);
    for (const std::size_t slot : {2u, 3u})
        store_entry(record.sector, slot, {}, 0);
    set_boot_signature(record.sector);
    return record;
}

void check_places(const PartitionTable& table, std::uint64_t disk_bytes) {
    for (const Partition& partition : table.partitions) {
        const bool number_fits = partition.mbr_logical ? partition.number >= 5
                                                       : partition.number >= 1 && partition.number <= kSlots;
        if (!number_fits)
            throw_error(Code::kRefused, "MBR: {} partition cannot have the number {}",
                        partition.mbr_logical ? "a logical" : "a primary", partition.number);
        if (partition.extent.begin == 0 || partition.extent.end > disk_bytes)
            throw_error(Code::kRefused, "partition {} {} lies outside the disk's {} bytes", partition.number,
                        partition.extent.text(), disk_bytes);
        const bool inside = table.mbr_extended && table.mbr_extended->contains(partition.extent);
        const bool touches = table.mbr_extended && table.mbr_extended->touches(partition.extent);
        if (partition.mbr_logical ? !inside : touches)
            throw_error(Code::kRefused, "partition {} {} the extended partition", partition.number,
                        partition.mbr_logical ? "lies outside" : "overlaps");
    }
    if (table.mbr_extended && (table.mbr_extended->begin == 0 || table.mbr_extended->end > disk_bytes))
        throw_error(Code::kRefused, "the extended partition {} lies outside the disk's {} bytes",
                    table.mbr_extended->text(), disk_bytes);
}

// The slot of the extended partition: where it was, else one that no partition has.
std::size_t extended_slot(const PartitionTable& table, std::span<const std::byte> sector) {
    const auto free = [&](std::size_t slot) {
        return table.by_number(static_cast<unsigned>(slot + 1)) == nullptr;
    };
    for (std::size_t slot = 0; slot < kSlots; ++slot)
        if (free(slot) && load_entry(sector, slot).extended()) return slot;
    for (std::size_t slot = 0; slot < kSlots; ++slot)
        if (free(slot)) return slot;
    throw_error(Code::kRefused, "MBR: four primary partitions leave no entry for the extended one");
}

void store_container(std::span<std::byte> sector, const PartitionTable& table) {
    const std::size_t slot = extended_slot(table, sector);
    const Entry old = load_entry(sector, slot);
    const std::uint8_t type = table.mbr_extended_type != 0 ? table.mbr_extended_type : 0x0F;
    store_entry(sector, slot,
                entry_for(*table.mbr_extended, 0, type, old.extended() && old.status == 0x80, table),
                table.mbr_extended->begin / table.sector_bytes);
}

Bytes encode_sector0(const PartitionTable& table) {
    Bytes sector = table.sector0;
    sector.resize(table.sector_bytes);
    const std::size_t container = table.mbr_extended ? extended_slot(table, sector) : kSlots;
    if (table.mbr_extended) store_container(sector, table);
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        const Partition* partition = table.by_number(static_cast<unsigned>(slot + 1));
        if (partition != nullptr)
            store_entry(sector, slot,
                        entry_for(partition->extent, 0, partition->mbr_type, partition->mbr_active, table),
                        partition->extent.begin / table.sector_bytes);
        else if (slot != container && load_entry(sector, slot).used())
            store_entry(sector, slot, {}, 0);
    }
    if (load_signature(sector) != table.mbr_signature) store_signature(sector, table.mbr_signature);
    set_boot_signature(sector);
    return sector;
}

}  // namespace

std::vector<BootRecord> boot_records(const PartitionTable& table) {
    if (!table.mbr_extended) return {};
    const auto logicals = logicals_of(table);
    if (chain_is_unchanged(table, logicals)) return table.mbr_chain;
    const std::vector<Node> nodes = lay_chain(table, logicals);
    std::vector<BootRecord> records;
    for (std::size_t i = 0; i < nodes.size(); ++i)
        records.push_back(encode_node(table, nodes[i], i + 1 < nodes.size() ? &nodes[i + 1] : nullptr));
    return records;
}

TableImage encode(const PartitionTable& table, std::uint64_t disk_bytes) {
    check_places(table, disk_bytes);
    TableImage image;
    image.primary.push_back({0, encode_sector0(table)});
    for (BootRecord& record : boot_records(table))
        image.primary.push_back({record.offset, std::move(record.sector)});
    return image;
}

}  // namespace dupengine::layout::mbr
