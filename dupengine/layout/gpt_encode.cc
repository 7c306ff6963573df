// The bytes of a GPT. The engine decides when they are written.

#include <algorithm>

#include "layout/gpt.h"
#include "layout/gpt_format.h"
#include "layout/partition_checks.h"
#include "layout/utf16.h"

namespace dupengine::layout::gpt {
namespace {

void store_partition(std::span<std::byte> entry, const Partition& partition, std::uint32_t sector_bytes) {
    const Bytes name = utf16_from_utf8(partition.name);
    if (name.size() > entry::kNameBytes)
        throw_error(Code::kRefused,
                    "the name '{}' is longer than the {} UTF-16 units that a GPT has room for",
                    partition.name, entry::kNameBytes / 2);
    std::copy(partition.type_guid.bytes.begin(), partition.type_guid.bytes.end(),
              entry.begin() + entry::kTypeAt);
    std::copy(partition.guid.bytes.begin(), partition.guid.bytes.end(), entry.begin() + entry::kGuidAt);
    store_le<std::uint64_t>(entry, entry::kFirstLbaAt, partition.extent.begin / sector_bytes);
    store_le<std::uint64_t>(entry, entry::kLastLbaAt, partition.extent.end / sector_bytes - 1);
    store_le<std::uint64_t>(entry, entry::kAttributesAt, partition.attributes);
    std::copy(name.begin(), name.end(), entry.begin() + entry::kNameAt);
}

void check_partition(const Partition& partition, const PartitionTable& table, const Places& places) {
    const std::uint64_t first = partition.extent.begin / table.sector_bytes;
    const std::uint64_t last = partition.extent.end / table.sector_bytes - 1;
    if (partition.number == 0 || partition.number > table.entry_count)
        throw_error(Code::kRefused, "partition {}: the GPT has room for {} entries", partition.number,
                    table.entry_count);
    if (partition.type_guid.is_null())
        throw_error(Code::kRefused, "partition {}: without a type GUID it would be an unused entry",
                    partition.number);
    if (first < places.first_usable_lba)
        throw_error(Code::kRefused, "partition {} begins at sector {}, before the first usable one ({})",
                    partition.number, first, places.first_usable_lba);
    if (last > places.last_usable_lba)
        throw_error(Code::kRefused,
                    "partition {} ends with sector {}, behind the last usable one ({}) of this disk",
                    partition.number, last, places.last_usable_lba);
}

Bytes encode_entries(const PartitionTable& table, const Places& places) {
    Bytes array(std::size_t{table.entry_count} * table.entry_bytes);
    for (const Partition& partition : table.partitions) {
        check_partition(partition, table, places);
        try {
            store_partition(std::span(array).subspan(std::size_t{partition.number - 1} * table.entry_bytes,
                                                     table.entry_bytes),
                            partition, table.sector_bytes);
        } catch (Error& e) {
            e.add_context(fmt::format("partition {}", partition.number));
            throw;
        }
    }
    return array;
}

struct HeaderPlace {
    std::uint64_t my_lba, alternate_lba, entries_lba;
};

Bytes encode_header(const PartitionTable& table, const Places& places, HeaderPlace place,
                    std::uint32_t entries_crc) {
    Bytes sector(table.sector_bytes);
    const auto signature = std::as_bytes(std::span(kSignature));
    std::copy(signature.begin(), signature.end(), sector.begin());
    store_le<std::uint32_t>(sector, header::kRevisionAt, kRevision);
    store_le<std::uint32_t>(sector, header::kSizeAt, kHeaderBytes);
    store_le<std::uint64_t>(sector, header::kMyLbaAt, place.my_lba);
    store_le<std::uint64_t>(sector, header::kAlternateLbaAt, place.alternate_lba);
    store_le<std::uint64_t>(sector, header::kFirstUsableAt, places.first_usable_lba);
    store_le<std::uint64_t>(sector, header::kLastUsableAt, places.last_usable_lba);
    std::copy(table.disk_guid.bytes.begin(), table.disk_guid.bytes.end(),
              sector.begin() + header::kDiskGuidAt);
    store_le<std::uint64_t>(sector, header::kEntriesLbaAt, place.entries_lba);
    store_le<std::uint32_t>(sector, header::kEntryCountAt, table.entry_count);
    store_le<std::uint32_t>(sector, header::kEntryBytesAt, table.entry_bytes);
    store_le<std::uint32_t>(sector, header::kEntriesCrcAt, entries_crc);
    store_le<std::uint32_t>(sector, header::kCrcAt, crc32(std::span(sector).first(kHeaderBytes)));
    return sector;
}

}  // namespace

std::uint64_t array_sectors(const PartitionTable& table) {
    return (std::uint64_t{table.entry_count} * table.entry_bytes + table.sector_bytes - 1) /
           table.sector_bytes;
}

Places places_on(const PartitionTable& table, std::uint64_t disk_bytes) {
    if (table.entry_count == 0 || table.entry_count > kMaxEntryCount || !is_entry_size(table.entry_bytes) ||
        table.entry_bytes > kMaxArrayBytes / table.entry_count || table.entries_lba <= kPrimaryLba)
        throw_error(Code::kRefused, "a GPT of {} entries of {} bytes at sector {} cannot be made",
                    table.entry_count, table.entry_bytes, table.entries_lba);
    const std::uint64_t sectors = disk_bytes / table.sector_bytes, array = array_sectors(table);
    const std::uint64_t tail = std::max(array + 1, table.reserved_tail_sectors);
    Places places;
    places.first_usable_lba = std::max(
        table.first_usable_lba, checked_add(table.entries_lba, array, "the sector of the GPT's entries"));
    if (sectors <= tail || places.first_usable_lba > sectors - tail - 1)
        throw_error(Code::kRefused, "a disk of {} sectors of {} bytes has no room for this GPT", sectors,
                    table.sector_bytes);
    places.last_lba = sectors - 1;
    places.last_usable_lba = places.last_lba - tail;
    places.backup_entries_lba = places.last_lba - array;
    return places;
}

TableImage encode(const PartitionTable& table, std::uint64_t disk_bytes) {
    const Places places = places_on(table, disk_bytes);
    Bytes entries = encode_entries(table, places);
    const std::uint32_t crc = crc32(entries);
    entries.resize(array_sectors(table) * table.sector_bytes);  // whole sectors can be written
    const auto at = [&](std::uint64_t lba) { return lba * table.sector_bytes; };
    TableImage image;
    image.primary.push_back({0, protective_sector0(table, places.last_lba + 1)});
    image.primary.push_back(
        {at(kPrimaryLba),
         encode_header(table, places, {kPrimaryLba, places.last_lba, table.entries_lba}, crc)});
    image.primary.push_back({at(table.entries_lba), entries});
    image.backup.push_back({at(places.backup_entries_lba), entries});
    image.backup.push_back(
        {at(places.last_lba),
         encode_header(table, places, {places.last_lba, kPrimaryLba, places.backup_entries_lba}, crc)});
    return image;
}

}  // namespace dupengine::layout::gpt
