#include "efi/core/duplicate_plan.h"

#include "layout/gpt_format.h"

namespace dupengine::efi {
namespace {

namespace entry = layout::gpt::entry;
constexpr std::uint32_t kEntryBytes = 128;

bool is_usual(const PartitionTable& table) {
    return std::uint64_t{table.entry_count} * table.entry_bytes == kEntriesBytes &&
           table.entry_bytes == kEntryBytes;
}

Buffer entry_of(DuplicatePlan& plan, unsigned number) {
    return Buffer(plan.entries).subspan(std::size_t{number - 1} * kEntryBytes, kEntryBytes);
}

template <typename T>
void store_le(Buffer into, std::size_t at, T value) {
    __builtin_memcpy(into.subspan(at, sizeof value).data(), &value, sizeof value);
}

void store(Buffer into, std::size_t at, Bytes bytes) {
    __builtin_memcpy(into.subspan(at, bytes.size()).data(), bytes.data(), bytes.size());
}

Bytes bytes_of(const Guid& guid) {
    return std::as_bytes(std::span(guid.bytes));
}

// The name of an entry, as far as it is ASCII; another one is as good as too long.
Text<36> name_of(Bytes raw) {
    Text<36> name;
    for (std::size_t i = 0; i < entry::kNameBytes / 2; ++i) {
        const auto c = load_le<std::uint16_t>(raw, entry::kNameAt + 2 * i);
        if (c == 0) break;
        const bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
        if (plain)
            name.add(static_cast<char>(c));
        else
            name.add("a name that cannot be told in a mark, as it is");
    }
    return name;
}

TextView keep_profiles(DuplicateEnd target, Buffer scratch, Mark& kept) {
    kept.count = 0;
    if (target.seen.unfinished) {
        if (!target.seen.mark_known)
            return "a copy onto the target was cut, and what it has to keep is not known here";
        kept = target.seen.mark;
        return {};
    }
    PartitionTable table;
    if (const TextView reason = read_gpt(target.disk, scratch, table); !reason.empty()) return reason;
    for (const Partition& partition : table.all()) {
        if (!(partition.type == kProfileType)) continue;
        if (kept.count == kept.kept.size()) return "the target has too many profile partitions";
        const Bytes raw =
            Bytes(scratch).subspan(std::size_t{partition.number - 1} * table.entry_bytes, kEntryBytes);
        kept.kept[kept.count++] = {partition, load_le<std::uint64_t>(raw, entry::kAttributesAt),
                                   name_of(raw)};
        if (kept.kept[kept.count - 1].name.cut())
            return "the target's profile partition has a name that is not plain";
    }
    return {};
}

// A disk that says nothing has nothing to lose; one that says something else may.
bool is_blank(Disk& disk, Buffer scratch) {
    const std::uint64_t room = table_head_bytes(disk.sector_bytes());
    const std::uint64_t tail = table_tail_bytes(disk.sector_bytes());
    if (disk.size_bytes() < room + tail) return false;
    return disk.read(0, scratch.first(room)) && is_zero(scratch.first(room)) &&
           disk.read(disk.size_bytes() - tail, scratch.first(tail)) && is_zero(scratch.first(tail));
}

void put_kept_entry(const KeptPartition& kept, DuplicatePlan& plan) {
    const Buffer raw = entry_of(plan, kept.partition.number);
    store(raw, entry::kTypeAt, bytes_of(kept.partition.type));
    store(raw, entry::kGuidAt, bytes_of(kept.partition.guid));
    store_le(raw, entry::kFirstLbaAt, kept.partition.begin / plan.sector_bytes);
    store_le(raw, entry::kLastLbaAt, kept.partition.end / plan.sector_bytes - 1);
    store_le(raw, entry::kAttributesAt, kept.attributes);
    for (std::size_t i = 0; i < kept.name.view().size(); ++i)
        store_le(raw, entry::kNameAt + 2 * i, static_cast<std::uint16_t>(kept.name.view()[i]));
}

// The source's entries and regions; what does not fit is refused.
TextView place_source(const PartitionTable& source, DuplicatePlan& plan) {
    const std::uint64_t usable_end = plan.target_bytes - table_tail_bytes(plan.sector_bytes);
    plan.copied_count = 0;
    plan.bytes = 0;
    for (const Partition& partition : source.all()) {
        if (partition.type == kProfileType) {
            __builtin_memset(entry_of(plan, partition.number).data(), 0, kEntryBytes);
            continue;
        }
        if (partition.end > usable_end) return "the target is too small for the source's partitions";
        for (const KeptPartition& kept : plan.kept.all()) {
            const Region region{kept.partition.begin, kept.partition.end};
            if (region.touches({partition.begin, partition.end}))
                return "the target's profile partition lies where a partition of the source would go";
            if (kept.partition.number == partition.number)
                return "the target's profile partition has the number of a partition of the source";
        }
        plan.copied[plan.copied_count++] = {partition.begin, partition.end};
        plan.bytes += partition.end - partition.begin;
    }
    return plan.copied_count > 0 ? TextView() : TextView("the source has no partition");
}

TextView place_kept(DuplicatePlan& plan) {
    const std::uint64_t begin = plan.first_usable * plan.sector_bytes;
    const std::uint64_t end = plan.target_bytes - table_tail_bytes(plan.sector_bytes);
    for (const KeptPartition& kept : plan.kept.all()) {
        if (kept.partition.begin < begin || kept.partition.end > end ||
            kept.partition.begin % plan.sector_bytes != 0)
            return "the target's profile partition lies where the table would go";
        put_kept_entry(kept, plan);
    }
    return {};
}

// Sector 0 as the source has it, its protective entry for this size (UEFI 2.10, 5.2.3).
TextView place_sector0(DuplicatePlan& plan) {
    constexpr std::size_t kFirstEntry = 446, kEntry = 16, kType = 4, kSectors = 12;
    constexpr std::byte kProtective{0xee};
    const Buffer sector = plan.sector0;
    if (sector[kFirstEntry + kType] != kProtective ||
        !is_zero(sector.subspan(kFirstEntry + kEntry, 3 * kEntry)))
        return "the source's MBR lists partitions, too";
    const std::uint64_t sectors = plan.target_bytes / plan.sector_bytes - 1;
    store_le(sector, kFirstEntry + kSectors,
             static_cast<std::uint32_t>(sectors < 0xffffffff ? sectors : 0xffffffff));
    return {};
}

void encode_header(const DuplicatePlan& plan, bool primary, Buffer sector) {
    namespace header = layout::gpt::header;
    const std::uint64_t last = plan.target_bytes / plan.sector_bytes - 1;
    const std::uint64_t entry_sectors = table_tail_bytes(plan.sector_bytes) / plan.sector_bytes - 1;
    store(sector, 0, std::as_bytes(std::span(layout::gpt::kSignature)));
    store_le(sector, header::kRevisionAt, layout::gpt::kRevision);
    store_le(sector, header::kSizeAt, layout::gpt::kHeaderBytes);
    store_le(sector, header::kMyLbaAt, primary ? layout::gpt::kPrimaryLba : last);
    store_le(sector, header::kAlternateLbaAt, primary ? last : layout::gpt::kPrimaryLba);
    store_le(sector, header::kFirstUsableAt, plan.first_usable);
    store_le(sector, header::kLastUsableAt, last - entry_sectors - 1);
    store(sector, header::kDiskGuidAt, bytes_of(plan.disk_guid));
    store_le(sector, header::kEntriesLbaAt, primary ? layout::gpt::kPrimaryLba + 1 : last - entry_sectors);
    store_le(sector, header::kEntryCountAt, static_cast<std::uint32_t>(kEntriesBytes / kEntryBytes));
    store_le(sector, header::kEntryBytesAt, kEntryBytes);
    store_le(sector, header::kEntriesCrcAt, crc32(plan.entries));
    store_le(sector, header::kCrcAt, crc32(Bytes(sector).first(layout::gpt::kHeaderBytes)));
}

}  // namespace

std::uint64_t table_tail_bytes(std::uint32_t sector_bytes) {
    return mark_room(sector_bytes);
}

std::uint64_t table_head_bytes(std::uint32_t sector_bytes) {
    return sector_bytes + mark_room(sector_bytes);
}

TextView plan_duplicate(DuplicateEnd source, DuplicateEnd target, Buffer scratch, DuplicatePlan& plan) {
    plan.sector_bytes = source.disk.sector_bytes();
    plan.target_bytes = target.disk.size_bytes();
    if (!source.seen.no_table.empty())
        return source.seen.unfinished ? "the source is unfinished" : source.seen.no_table;
    if (target.disk.sector_bytes() != plan.sector_bytes)
        return "the two disks have sectors of different sizes";
    if (plan.target_bytes < 2 * table_head_bytes(plan.sector_bytes)) return "the target is too small";
    const bool says_nothing = !target.seen.no_table.empty() && !target.seen.unfinished;
    plan.kept.count = 0;
    if (says_nothing && !is_blank(target.disk, scratch))
        return "the target holds something that is no GUID partition table; wipe it first";
    if (!says_nothing)
        if (const TextView reason = keep_profiles(target, scratch, plan.kept); !reason.empty()) return reason;

    // The source is read once more: its entries as they are, and its first sector.
    PartitionTable table;
    if (const TextView reason = read_gpt(source.disk, scratch, table); !reason.empty()) return reason;
    if (!is_usual(table)) return "the source's partition table has not 128 entries";
    store(plan.entries, 0, Bytes(scratch).first(kEntriesBytes));
    plan.disk_guid = table.disk_guid;
    plan.first_usable = table.first_usable;
    if (!source.disk.read(0, Buffer(plan.sector0).first(plan.sector_bytes)))
        return "the source cannot be read";
    if (const TextView reason = place_source(table, plan); !reason.empty()) return reason;
    if (const TextView reason = place_kept(plan); !reason.empty()) return reason;
    return place_sector0(plan);
}

void encode_head(const DuplicatePlan& plan, Buffer into) {
    __builtin_memset(into.data(), 0, into.size());
    store(into, 0, Bytes(plan.sector0).first(plan.sector_bytes));
    encode_header(plan, true, into.subspan(plan.sector_bytes, plan.sector_bytes));
    store(into, 2 * std::size_t{plan.sector_bytes}, plan.entries);
}

void encode_tail(const DuplicatePlan& plan, Buffer into) {
    __builtin_memset(into.data(), 0, into.size());
    store(into, 0, plan.entries);
    encode_header(plan, false, into.last(plan.sector_bytes));
}

}  // namespace dupengine::efi
