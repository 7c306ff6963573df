#include "layout/gpt.h"

#include "layout/gpt_format.h"
#include "layout/mbr.h"
#include "layout/partition_checks.h"
#include "layout/utf16.h"

namespace dupengine::layout::gpt {
namespace {

struct Place {
    const block::Reader& disk;
    std::uint32_t sector_bytes;
    std::uint64_t disk_sectors;
    std::uint64_t lba;
    bool is_primary() const { return lba == kPrimaryLba; }
};

[[noreturn]] void reject(const std::string& reason) {
    throw Error(Code::kIntegrity, reason);
}

std::uint64_t sectors_for(std::uint64_t bytes, std::uint32_t sector_bytes) {
    return (bytes + sector_bytes - 1) / sector_bytes;
}

// The checks that need the header alone; afterwards its numbers are its writer's, if not yet sane.
void check_checksum(const Bytes& sector, std::uint64_t lba) {
    const std::uint32_t size = load_le<std::uint32_t>(sector, header::kSizeAt);
    if (size < kHeaderBytes || size > sector.size()) reject(fmt::format("its header claims {} bytes", size));
    Bytes covered(sector.begin(), sector.begin() + size);
    store_le<std::uint32_t>(covered, header::kCrcAt, 0);
    if (crc32(covered) != load_le<std::uint32_t>(sector, header::kCrcAt))
        reject("the header's checksum is wrong");
    const auto revision = load_le<std::uint32_t>(sector, header::kRevisionAt);
    if (revision != kRevision) reject(fmt::format("its revision {:#010x} is not known", revision));
    const auto my_lba = load_le<std::uint64_t>(sector, header::kMyLbaAt);
    if (my_lba != lba) reject(fmt::format("its header is for sector {}", my_lba));
}

Copy load_header(const Bytes& sector, std::uint64_t lba) {
    Copy copy;
    copy.header_lba = lba;
    copy.alternate_lba = load_le<std::uint64_t>(sector, header::kAlternateLbaAt);
    copy.first_usable_lba = load_le<std::uint64_t>(sector, header::kFirstUsableAt);
    copy.last_usable_lba = load_le<std::uint64_t>(sector, header::kLastUsableAt);
    copy.disk_guid = Guid::from_disk(std::span(sector).subspan(header::kDiskGuidAt));
    copy.entries_lba = load_le<std::uint64_t>(sector, header::kEntriesLbaAt);
    copy.entry_count = load_le<std::uint32_t>(sector, header::kEntryCountAt);
    copy.entry_bytes = load_le<std::uint32_t>(sector, header::kEntryBytesAt);
    return copy;
}

void check_ranges(const Copy& copy, const Place& place) {
    if (copy.entry_count == 0 || copy.entry_count > kMaxEntryCount)
        reject(fmt::format("{} entries; 1 to {} can be handled", copy.entry_count, kMaxEntryCount));
    if (!is_entry_size(copy.entry_bytes) || copy.entry_bytes > kMaxArrayBytes / copy.entry_count)
        reject(fmt::format("{} entries of {} bytes cannot be handled", copy.entry_count, copy.entry_bytes));
    if (copy.first_usable_lba > copy.last_usable_lba)
        reject(
            fmt::format("its usable sectors {} to {} are none", copy.first_usable_lba, copy.last_usable_lba));
    if (copy.last_usable_lba >= place.disk_sectors)
        reject(
            fmt::format("its last usable sector {} lies behind the end of the disk ({} sectors; truncated?)",
                        copy.last_usable_lba, place.disk_sectors));
    // Each copy's entries stand between its header and the usable sectors.
    const std::uint64_t size =
        sectors_for(std::uint64_t{copy.entry_count} * copy.entry_bytes, place.sector_bytes);
    if (copy.first_usable_lba < kPrimaryLba + 1 + size)
        reject(fmt::format("its first usable sector {} leaves no room for the table", copy.first_usable_lba));
    const block::Extent room = place.is_primary() ? block::Extent{kPrimaryLba + 1, copy.first_usable_lba}
                                                  : block::Extent{copy.last_usable_lba + 1, copy.header_lba};
    if (copy.entries_lba < room.begin || room.size() < size || copy.entries_lba > room.end - size)
        reject(fmt::format("its {} sectors of entries at {} are not within sectors {}", size,
                           copy.entries_lba, room.text()));
}

Partition load_partition(std::span<const std::byte> entry, unsigned number, const Place& place, Copy& copy) {
    const auto first = load_le<std::uint64_t>(entry, entry::kFirstLbaAt);
    const auto last = load_le<std::uint64_t>(entry, entry::kLastLbaAt);
    if (first > last || first < copy.first_usable_lba || last > copy.last_usable_lba)
        reject(fmt::format("partition {} (sectors {} to {}) lies outside the usable sectors {} to {}", number,
                           first, last, copy.first_usable_lba, copy.last_usable_lba));
    Partition partition;
    partition.number = number;
    // Neither overflows: last is below the disk's size in sectors.
    partition.extent = {first * place.sector_bytes, (last + 1) * place.sector_bytes};
    partition.type_guid = Guid::from_disk(entry.subspan(entry::kTypeAt));
    partition.guid = Guid::from_disk(entry.subspan(entry::kGuidAt));
    partition.attributes = load_le<std::uint64_t>(entry, entry::kAttributesAt);
    Utf16Text name = utf8_from_utf16(entry.subspan(entry::kNameAt, entry::kNameBytes));
    if (name.damaged) copy.damaged_names.push_back(number);
    partition.name = std::move(name.utf8);
    return partition;
}

void load_partitions(const Bytes& array, const Place& place, Copy& copy) {
    for (std::uint32_t i = 0; i < copy.entry_count; ++i) {
        const auto entry = std::span(array).subspan(std::size_t{i} * copy.entry_bytes, copy.entry_bytes);
        if (!is_zero(entry.first(16))) copy.partitions.push_back(load_partition(entry, i + 1, place, copy));
    }
    if (const auto pair = overlapping_pair(copy.partitions))
        reject(fmt::format("partitions {} and {} overlap", pair->first, pair->second));
}

void read_copy(const Place& place, Finding& finding) {
    if (place.lba == 0 || place.lba >= place.disk_sectors) reject("it would lie behind the end of the disk");
    const std::uint64_t begin = place.lba * place.sector_bytes;
    const Bytes sector = block::read_extent(place.disk, {begin, begin + place.sector_bytes});
    if (!as_text(sector).starts_with({kSignature.data(), kSignature.size()}))
        reject("there is no GPT header");
    finding.seen = true;
    check_checksum(sector, place.lba);
    Copy copy = load_header(sector, place.lba);
    check_ranges(copy, place);
    finding.header = copy;
    const std::uint64_t entries = copy.entries_lba * place.sector_bytes;
    const Bytes array = block::read_extent(
        place.disk, {entries, entries + std::uint64_t{copy.entry_count} * copy.entry_bytes});
    if (crc32(array) != load_le<std::uint32_t>(sector, header::kEntriesCrcAt))
        reject("the checksum of its entries is wrong");
    load_partitions(array, place, copy);
    finding.copy = std::move(copy);
}

Finding find_copy(const Place& place) {
    Finding finding;
    finding.lba = place.lba;
    try {
        read_copy(place, finding);
    } catch (const Error& e) {
        // One copy that cannot be read or used is what the other one is for. Anything else is not about the
        // disk.
        if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo && e.code() != Code::kTargetIo) throw;
        finding.io_error = e.code() != Code::kIntegrity;
        finding.reason = e.what();
    }
    return finding;
}

// Where the disk that the protective MBR was made for ended, or 0: the only hint at the backup of an image of
// a smaller disk whose primary copy is damaged.
std::uint64_t protective_last_lba(std::span<const std::byte> sector0) {
    if (!announced_by(sector0)) return 0;
    for (std::size_t slot = 0; slot < mbr::kSlots; ++slot) {
        const mbr::Entry entry = mbr::load_entry(sector0, slot);
        if (entry.type == mbr::kTypeProtective && entry.start == 1) return entry.sectors;
    }
    return 0;
}

}  // namespace

bool Copy::agrees_with(const Copy& other) const {
    return first_usable_lba == other.first_usable_lba && last_usable_lba == other.last_usable_lba &&
           entry_count == other.entry_count && entry_bytes == other.entry_bytes &&
           disk_guid == other.disk_guid && partitions == other.partitions;
}

Look look_for_copies(const block::Reader& disk, std::uint32_t sector_bytes,
                     std::span<const std::byte> sector0) {
    const std::uint64_t sectors = disk.geometry().size_bytes / sector_bytes;
    Look look;
    look.sector_bytes = sector_bytes;
    look.primary = find_copy({disk, sector_bytes, sectors, kPrimaryLba});
    std::vector<std::uint64_t> places;
    if (look.primary.header) places.push_back(look.primary.header->alternate_lba);
    if (sectors > 0) places.push_back(sectors - 1);
    places.push_back(protective_last_lba(sector0));
    bool first = true;
    for (std::uint64_t lba : places) {
        if (lba <= kPrimaryLba || (!first && lba == look.backup.lba)) continue;
        Finding finding = find_copy({disk, sector_bytes, sectors, lba});
        // Of several failures the first is told, unless another place shows that there was a header at all.
        if (first || finding.copy || (finding.seen && !look.backup.seen)) look.backup = std::move(finding);
        first = false;
        if (look.backup.copy) break;
    }
    if (first) look.backup.reason = "the disk has no room for it";
    return look;
}

}  // namespace dupengine::layout::gpt
