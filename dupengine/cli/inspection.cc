#include "cli/inspection.h"

#include <array>

#include "block/open.h"
#include "image/foreign/foreign_disk.h"
#include "layout/open_mappings.h"

namespace dupengine::cli {
namespace {

struct MbrType {
    std::uint8_t type;
    const char* words;
};

// Those that a Linux machine meets (util-linux, include/pt-mbr-partnames.h, has them all).
constexpr std::array<MbrType, 16> kMbrTypes = {{{0x01, "FAT12"},
                                                {0x04, "FAT16 below 32 MiB"},
                                                {0x06, "FAT16"},
                                                {0x07, "NTFS or exFAT"},
                                                {0x0b, "FAT32"},
                                                {0x0c, "FAT32 (LBA)"},
                                                {0x0e, "FAT16 (LBA)"},
                                                {0x27, "hidden NTFS"},
                                                {0x41, "PReP boot"},
                                                {0x82, "Linux swap"},
                                                {0x83, "Linux"},
                                                {0x8e, "Linux LVM"},
                                                {0xa5, "FreeBSD"},
                                                {0xee, "GPT protective"},
                                                {0xef, "EFI system"},
                                                {0xfd, "Linux RAID"}}};

}  // namespace

Inspection describe_what_can_be_read(const block::Reader& reader) {
    Inspection inspection;
    try {
        layout::OpenMappings plaintext(layout::OpenMappings::For::kLook);
        inspection.disk = layout::describe_disk(reader, layout::Depth::kUsedExtents, &plaintext);
    } catch (const Error& e) {
        inspection.failure = e;
        try {
            inspection.disk = layout::describe_disk(reader, layout::Depth::kTable);
        } catch (const Error&) {
            inspection.disk.name = reader.name();  // the first failure says what is wrong
            inspection.disk.geometry = reader.geometry();
        }
    }
    const std::string& damage = inspection.disk.damaged_table;
    if (!inspection.failure && !damage.empty())
        inspection.failure = Error(
            Code::kSourceIo, damage.starts_with(reader.name()) ? damage : reader.name() + ": " + damage);
    return inspection;
}

Inspection look_at_disk(const std::string& path, std::optional<std::uint32_t> sector_bytes,
                        image::SourceFormat format) {
    block::identify(path);
    const auto disk = block::open_source(path, sector_bytes);
    const image::ForeignDisk foreign = image::open_foreign({disk->native_fd(), path}, format);
    Inspection inspection = describe_what_can_be_read(foreign.reader ? *foreign.reader : *disk);
    try {
        inspection.uses = layout::find_uses(path);
    } catch (const Error& e) {
        if (!inspection.failure) inspection.failure = e;
    }
    return inspection;
}

std::string protection_of(const Inspection& inspection, const layout::Partition& partition) {
    if (partition.type_guid == layout::type_guid::kProfile) return "profile";
    if (inspection.disk.incomplete)
        for (const auto& kept : inspection.disk.incomplete->kept)
            if (kept.extent == partition.extent) return kept.name;
    return {};
}

bool is_use_of(const layout::Use& use, const layout::Partition& partition) {
    return use.part && partition.extent.contains(*use.part);
}

std::string type_in_words(layout::TableKind kind, const layout::Partition& partition) {
    if (kind != layout::TableKind::kMbr) return layout::type_guid::describe(partition.type_guid);
    for (const MbrType& known : kMbrTypes)
        if (known.type == partition.mbr_type) return known.words;
    return fmt::format("type 0x{:02x}", partition.mbr_type);
}

}  // namespace dupengine::cli
