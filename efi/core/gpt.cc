#include "efi/core/gpt.h"

#include "layout/gpt_format.h"

namespace dupengine::efi {
namespace {

namespace header = layout::gpt::header;
namespace entry = layout::gpt::entry;
using layout::gpt::kPrimaryLba;

constexpr std::uint32_t kLargestSector = 4096;

/// One copy's header, as far as it is needed.
struct Header {
    std::uint64_t alternate = 0, first_usable = 0, last_usable = 0, entries = 0;
    std::uint32_t entry_count = 0, entry_bytes = 0, entries_crc = 0;
    Guid disk_guid;
};

Guid load_guid(Bytes bytes, std::size_t at) {
    Guid guid;
    for (std::size_t i = 0; i < guid.bytes.size(); ++i)
        guid.bytes[i] = std::to_integer<std::uint8_t>(bytes[at + i]);
    return guid;
}

std::uint64_t entries_bytes(const Header& found) {
    return std::uint64_t{found.entry_count} * found.entry_bytes;
}

bool checksum_is_good(Buffer sector) {
    const auto size = load_le<std::uint32_t>(sector, header::kSizeAt);
    if (size < layout::gpt::kHeaderBytes || size > sector.size()) return false;
    const auto stored = load_le<std::uint32_t>(sector, header::kCrcAt);
    for (std::byte& b : sector.subspan(header::kCrcAt, sizeof stored))
        b = std::byte{0};
    return crc32(sector.first(size)) == stored;
}

TextView load_header(Buffer sector, std::uint64_t lba, Header& found) {
    if (as_text(sector.first(layout::gpt::kSignature.size())) !=
        TextView(layout::gpt::kSignature.data(), layout::gpt::kSignature.size()))
        return "there is no GUID partition table";
    if (!checksum_is_good(sector)) return "the header of its GUID partition table is damaged";
    if (load_le<std::uint32_t>(sector, header::kRevisionAt) != layout::gpt::kRevision)
        return "its GUID partition table is of an unknown revision";
    if (load_le<std::uint64_t>(sector, header::kMyLbaAt) != lba)
        return "the header of its GUID partition table is of another place";
    found.alternate = load_le<std::uint64_t>(sector, header::kAlternateLbaAt);
    found.first_usable = load_le<std::uint64_t>(sector, header::kFirstUsableAt);
    found.last_usable = load_le<std::uint64_t>(sector, header::kLastUsableAt);
    found.disk_guid = load_guid(sector, header::kDiskGuidAt);
    found.entries = load_le<std::uint64_t>(sector, header::kEntriesLbaAt);
    found.entry_count = load_le<std::uint32_t>(sector, header::kEntryCountAt);
    found.entry_bytes = load_le<std::uint32_t>(sector, header::kEntryBytesAt);
    found.entries_crc = load_le<std::uint32_t>(sector, header::kEntriesCrcAt);
    return {};
}

// Each copy's entries stand between its header and the usable sectors.
bool ranges_are_good(const Header& found, std::uint64_t lba, std::uint64_t sectors,
                     std::uint32_t sector_bytes) {
    if (found.entry_count == 0 || found.entry_count > layout::gpt::kMaxEntryCount) return false;
    if (!layout::gpt::is_entry_size(found.entry_bytes) || entries_bytes(found) > layout::gpt::kMaxArrayBytes)
        return false;
    if (found.first_usable > found.last_usable || found.last_usable >= sectors) return false;
    const std::uint64_t size = (entries_bytes(found) + sector_bytes - 1) / sector_bytes;
    if (found.first_usable < kPrimaryLba + 1 + size) return false;
    const std::uint64_t begin = lba == kPrimaryLba ? kPrimaryLba + 1 : found.last_usable + 1;
    const std::uint64_t end = lba == kPrimaryLba ? found.first_usable : lba;
    return end > begin && end - begin >= size && found.entries >= begin && found.entries <= end - size;
}

bool overlap(const Partition& a, const Partition& b) {
    return a.begin < b.end && b.begin < a.end;
}

TextView load_entries(Bytes array, const Header& found, std::uint32_t sector_bytes, PartitionTable& table) {
    table.count = 0;
    table.disk_guid = found.disk_guid;
    table.first_usable = found.first_usable;
    table.entry_count = found.entry_count;
    table.entry_bytes = found.entry_bytes;
    for (std::uint32_t i = 0; i < found.entry_count; ++i) {
        const Bytes one = array.subspan(std::size_t{i} * found.entry_bytes, found.entry_bytes);
        if (is_zero(one.first(16))) continue;
        const auto first = load_le<std::uint64_t>(one, entry::kFirstLbaAt);
        const auto last = load_le<std::uint64_t>(one, entry::kLastLbaAt);
        if (first > last || first < found.first_usable || last > found.last_usable)
            return "a partition lies outside the usable sectors";
        if (table.count == kMostPartitions) return "there are more than 128 partitions";
        Partition& partition = table.partitions[table.count];
        partition = {i + 1, first * sector_bytes, (last + 1) * sector_bytes, load_guid(one, entry::kTypeAt),
                     load_guid(one, entry::kGuidAt)};
        for (const Partition& other : table.all())
            if (overlap(other, partition)) return "two partitions overlap";
        ++table.count;
    }
    return {};
}

// `found` is what can be believed of the header, also if the entries cannot.
TextView read_copy(Disk& disk, std::uint64_t lba, Buffer scratch, Header& found, PartitionTable& table) {
    const std::uint32_t sector_bytes = disk.sector_bytes();
    const std::uint64_t sectors = disk.size_bytes() / sector_bytes;
    if (lba < kPrimaryLba || lba >= sectors) return "there is no GUID partition table";
    const Buffer sector = scratch.first(sector_bytes);
    if (!disk.read(lba * sector_bytes, sector)) return "its partition table cannot be read";
    Header header_here;
    if (const TextView reason = load_header(sector, lba, header_here); !reason.empty()) return reason;
    if (!ranges_are_good(header_here, lba, sectors, sector_bytes))
        return "the numbers of its GUID partition table are impossible";
    found = header_here;
    const std::uint64_t bytes = entries_bytes(found);
    const Buffer array = scratch.first((bytes + sector_bytes - 1) / sector_bytes * sector_bytes);
    if (!disk.read(found.entries * sector_bytes, array)) return "its partition table cannot be read";
    if (crc32(array.first(bytes)) != found.entries_crc)
        return "the entries of its GUID partition table are damaged";
    return load_entries(array.first(bytes), found, sector_bytes, table);
}

// What LBA 0 says of the table (UEFI 2.10, 5.2.3).
enum class Announced { kGpt, kMbr, kNothing };

Announced announced_by(Bytes sector0) {
    constexpr std::size_t kEntriesAt = 446, kEntryBytes = 16, kTypeAt = 4, kSignatureAt = 510;
    constexpr std::byte kProtective{0xee};
    if (load_le<std::uint16_t>(sector0, kSignatureAt) != 0xaa55) return Announced::kNothing;
    for (std::size_t i = 0; i < 4; ++i)
        if (sector0[kEntriesAt + i * kEntryBytes + kTypeAt] == kProtective) return Announced::kGpt;
    return Announced::kMbr;
}

}  // namespace

const Partition* PartitionTable::by_type(const Guid& type) const {
    for (const Partition& partition : all())
        if (partition.type == type) return &partition;
    return nullptr;
}

const Partition* PartitionTable::by_guid(const Guid& guid) const {
    for (const Partition& partition : all())
        if (partition.guid == guid) return &partition;
    return nullptr;
}

TextView read_gpt(Disk& disk, Buffer scratch, PartitionTable& table) {
    table.count = 0;
    const std::uint32_t sector_bytes = disk.sector_bytes();
    if (sector_bytes < 512 || sector_bytes > kLargestSector || (sector_bytes & (sector_bytes - 1)) != 0)
        return "its sectors have a size that is not known here";
    if (disk.size_bytes() < std::uint64_t{3} * sector_bytes) return "it is too small for a partition table";
    if (!disk.read(0, scratch.first(sector_bytes))) return "its first sector cannot be read";
    const Announced announced = announced_by(scratch.first(sector_bytes));
    if (announced == Announced::kMbr) return "it has no GUID partition table, but an MBR";

    Header found;
    const TextView primary = read_copy(disk, kPrimaryLba, scratch, found, table);
    // A backup alone proves nothing: it survives many ways of giving a disk another use.
    if (primary.empty() || announced != Announced::kGpt) return primary;
    const std::uint64_t last = disk.size_bytes() / sector_bytes - 1;
    Header unused;
    if (found.alternate > kPrimaryLba && found.alternate != last &&
        read_copy(disk, found.alternate, scratch, unused, table).empty())
        return {};
    if (last > kPrimaryLba && read_copy(disk, last, scratch, unused, table).empty()) return {};
    table.count = 0;
    return primary;
}

}  // namespace dupengine::efi
