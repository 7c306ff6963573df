#include "profiles/system/disk_identifiers.h"

#include <array>
#include <charconv>

#include "profiles/system/ext_identity.h"

namespace dupengine::profiles {
namespace {

using layout::PartitionDescription;
using layout::TableKind;

std::string describe_place(const PartitionDescription& partition) {
    const std::string type = partition.signature ? partition.signature->type : "";
    std::string more = type;
    if (!partition.partition.name.empty())
        more += fmt::format("{}'{}'", more.empty() ? "" : ", ", partition.partition.name);
    return fmt::format("partition {}{}", partition.partition.number, more.empty() ? "" : " (" + more + ")");
}

const PartitionDescription& require_partition(const layout::DiskDescription& description, unsigned number) {
    const PartitionDescription* partition = description.by_number(number);
    if (partition == nullptr)
        throw_error(Code::kIntegrity, "{}: there is no partition {}", description.name, number);
    return *partition;
}

// What the identifier inside a partition is, and whether it can be changed.
std::optional<Identifier> content_identifier(const block::Reader& disk,
                                             const PartitionDescription& partition) {
    if (!partition.signature || partition.signature->uuid.empty()) return std::nullopt;
    const layout::Signature& signature = *partition.signature;
    Identifier identifier{IdentifierKind::kFilesystemUuid,
                          partition.partition.number,
                          signature.uuid,
                          describe_place(partition),
                          {}};
    if (is_ext(partition)) {
        const block::Window part(disk, partition.partition.extent, identifier.where);
        if (read_ext_state(part).uuid_is_fixed)
            identifier.fixed = "its encrypted files are bound to the UUID (stable_inodes)";
    } else if (is_fat(partition)) {
        identifier.kind = IdentifierKind::kFatId;
    } else if (signature.type == "swap") {
        identifier.kind = IdentifierKind::kSwapUuid;
    } else {
        identifier.fixed = "changing the UUID of " + signature.type + " is not supported";
    }
    return identifier;
}

// FAT: the sectors that carry the id, the backup first, so that a cut shows in the one that everybody reads.
struct FatPlaces {
    std::vector<ByteOffset> offsets;  // of the four bytes, in the part
};

FatPlaces fat_places(const block::Reader& part) {
    const Bytes boot = block::read_extent(part, {0, 512});
    const auto bytes_per_sector = load_le<std::uint16_t>(boot, 0x0b);
    const auto reserved = load_le<std::uint16_t>(boot, 0x0e), backup = load_le<std::uint16_t>(boot, 0x32);
    const bool fat32 = load_le<std::uint16_t>(boot, 0x16) == 0;
    const unsigned id = fat32 ? 0x43 : 0x27;
    const bool power_of_two = bytes_per_sector >= 512 && bytes_per_sector <= 4096 &&
                              (bytes_per_sector & (bytes_per_sector - 1)) == 0;
    if (load_le<std::uint16_t>(boot, 510) != 0xaa55 || !power_of_two ||
        load_le<std::uint8_t>(boot, id - 1) != 0x29)
        throw_error(Code::kIntegrity, "{}: its boot sector carries no volume id", part.name());
    FatPlaces places;
    if (fat32 && backup != 0 && backup < reserved) {
        const ByteOffset at = static_cast<ByteOffset>(backup) * bytes_per_sector;
        const Bytes copy = block::read_extent(part, {at, at + 512});
        if (load_le<std::uint16_t>(copy, 510) == 0xaa55 && load_le<std::uint8_t>(copy, id - 1) == 0x29)
            places.offsets.push_back(at + id);
    }
    places.offsets.push_back(id);
    return places;
}

constexpr ByteOffset kSwapUuidOffset = 1024 + 12;

void check_swap(const block::Reader& part) {
    for (const ByteOffset page : {4096, 8192, 16384, 65536}) {
        if (part.geometry().size_bytes < page) break;
        const Bytes magic = block::read_extent(part, {page - 10, page});
        if (as_text(magic) == "SWAPSPACE2") return;
    }
    throw_error(Code::kIntegrity, "{}: carries no header of swap space", part.name());
}

block::Extent sectors_around(const block::Reader& disk, ByteOffset offset, std::uint64_t size) {
    const std::uint64_t sector = disk.geometry().logical_sector_bytes;
    return {align_down(offset, sector), align_up(offset + size, sector)};
}

// Whole sectors, read, changed in a few bytes, and written.
void patch(block::Target& disk, ByteOffset offset, std::span<const std::byte> bytes) {
    const block::Extent around = sectors_around(disk, offset, bytes.size());
    Bytes content = block::read_extent(disk, around);
    std::copy(bytes.begin(), bytes.end(),
              content.begin() + static_cast<std::ptrdiff_t>(offset - around.begin));
    disk.write(around.begin, content);
}

Bytes uuid_bytes(std::string text) {
    std::erase(text, '-');
    Bytes bytes = from_hex(text);
    if (bytes.size() != 16) throw_error(Code::kInternal, "'{}' is no UUID", text);
    return bytes;
}

std::uint32_t short_id(std::string text) {
    std::erase(text, '-');
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc() || text.size() != 8 || end != text.data() + 8)
        throw_error(Code::kInternal, "'{}' is no short id", text);
    return value;
}

bool is_of_table(IdentifierKind kind) {
    return kind == IdentifierKind::kPartitionGuid || kind == IdentifierKind::kDiskGuid ||
           kind == IdentifierKind::kDiskSignature;
}

void change_table(layout::PartitionTable& table, const IdentifierChange& change) {
    if (change.kind == IdentifierKind::kDiskGuid) {
        table.disk_guid = Guid::parse(change.after);
    } else if (change.kind == IdentifierKind::kDiskSignature) {
        table.mbr_signature = short_id(change.after);
        store_le<std::uint32_t>(table.sector0, 440, table.mbr_signature);
    } else {
        for (layout::Partition& partition : table.partitions)
            if (partition.number == change.partition.number &&
                partition.type_guid != layout::type_guid::kProfile)
                partition.guid = Guid::parse(change.after);
    }
}

}  // namespace

layout::DiskDescription describe_system_disk(const block::Reader& disk, const std::string& name) {
    layout::DiskDescription description = layout::describe_disk(disk, layout::Depth::kTable);
    if (description.incomplete)
        throw_error(Code::kRefused, "{}: a copy onto it was begun and has not finished; complete it first",
                    name);
    if (!description.damaged_table.empty())
        throw_error(Code::kRefused, "{}: its partition table is damaged: {}", name,
                    description.damaged_table);
    if (description.table.kind == layout::TableKind::kNone)
        throw_error(Code::kRefused, "{}: has no partition table, so there is no system disk to work on",
                    name);
    return description;
}

bool is_ext(const PartitionDescription& partition) {
    return partition.signature &&
           (partition.signature->type == "ext2" || partition.signature->type == "ext3" ||
            partition.signature->type == "ext4");
}

bool is_fat(const PartitionDescription& partition) {
    return partition.signature && partition.signature->type == "vfat";
}

std::vector<Identifier> list_identifiers(const block::Reader& disk,
                                         const layout::DiskDescription& description) {
    std::vector<Identifier> identifiers;
    const bool gpt = description.table.kind == TableKind::kGpt;
    for (const PartitionDescription& partition : description.partitions) {
        if (gpt && partition.partition.type_guid == layout::type_guid::kProfile) continue;
        if (auto content = content_identifier(disk, partition)) identifiers.push_back(std::move(*content));
        if (gpt)
            identifiers.push_back({IdentifierKind::kPartitionGuid,
                                   partition.partition.number,
                                   partition.partition.guid.text(),
                                   fmt::format("table entry {}", partition.partition.number),
                                   {}});
    }
    if (gpt)
        identifiers.push_back(
            {IdentifierKind::kDiskGuid, 0, description.table.disk_guid.text(), "table", {}});
    if (description.table.kind == TableKind::kMbr)
        identifiers.push_back({IdentifierKind::kDiskSignature,
                               0,
                               fmt::format("{:08x}", description.table.mbr_signature),
                               "table",
                               {}});
    return identifiers;
}

block::ExtentSet content_identifier_extents(const block::Reader& part, IdentifierKind kind) {
    block::ExtentSet extents;
    if (kind == IdentifierKind::kFatId)
        for (const ByteOffset offset : fat_places(part).offsets)
            extents.insert(sectors_around(part, offset, 4));
    if (kind == IdentifierKind::kSwapUuid) {
        check_swap(part);
        extents.insert(sectors_around(part, kSwapUuidOffset, 16));
    }
    return extents;
}

block::ExtentSet identifier_extents(const block::Reader& disk, const layout::DiskDescription& description,
                                    const std::vector<IdentifierChange>& changes) {
    block::ExtentSet extents;
    for (const IdentifierChange& change : changes) {
        if (is_of_table(change.kind)) {
            extents.insert(layout::table_extents(description.table, disk.geometry().size_bytes));
            continue;
        }
        const block::Extent place = require_partition(description, change.partition.number).partition.extent;
        const block::Window part(disk, place, change.where);
        extents.insert(content_identifier_extents(part, change.kind).shifted(place.begin));
    }
    return extents;
}

void set_fat_id(block::Target& disk, block::Extent place, const std::string& id) {
    const block::Window part(disk, place, "the FAT file system");
    std::array<std::byte, 4> bytes{};
    store_le<std::uint32_t>(bytes, 0, short_id(id));
    for (const ByteOffset offset : fat_places(part).offsets) {
        patch(disk, place.begin + offset, bytes);
        disk.flush();
    }
}

void set_swap_uuid(block::Target& disk, block::Extent place, const std::string& uuid) {
    check_swap(block::Window(disk, place, "the swap space"));
    patch(disk, place.begin + kSwapUuidOffset, uuid_bytes(uuid));
    disk.flush();
}

void set_table_identifiers(block::Target& disk, const std::vector<IdentifierChange>& changes) {
    layout::PartitionTable table = layout::read_partition_table(disk);
    const layout::PartitionTable before = table;
    for (const IdentifierChange& change : changes)
        if (is_of_table(change.kind)) change_table(table, change);
    const bool same = table.disk_guid == before.disk_guid && table.mbr_signature == before.mbr_signature &&
                      table.partitions == before.partitions;
    if (same && table.primary_valid && table.backup_valid) return;
    const layout::TableImage image = layout::encode_table(table, disk.geometry().size_bytes);
    for (const auto* pieces : {&image.backup, &image.primary}) {
        for (const layout::TableImage::Piece& piece : *pieces)
            disk.write(piece.offset, piece.content);
        disk.flush();
    }
}

}  // namespace dupengine::profiles
