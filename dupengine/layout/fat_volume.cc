#include "layout/fat_volume.h"

#include <bit>

namespace dupengine::layout {
namespace {

using Width = FatVolume::Width;
constexpr std::uint64_t kFirstCluster = FatVolume::kFirstCluster;

// The BIOS parameter block as it stands, in sectors (fatgen103, "Boot Sector and BPB").
struct Bpb {
    explicit Bpb(std::span<const std::byte> sector)
        : bytes_per_sector(load_le<std::uint16_t>(sector, 11)),
          sectors_per_cluster(std::to_integer<unsigned>(sector[13])),
          reserved(load_le<std::uint16_t>(sector, 14)),
          fats(std::to_integer<unsigned>(sector[16])),
          root_entries(load_le<std::uint16_t>(sector, 17)),
          media(std::to_integer<unsigned>(sector[21])) {
        const auto total16 = load_le<std::uint16_t>(sector, 19);
        total = total16 != 0 ? total16 : load_le<std::uint32_t>(sector, 32);
        const auto fat16 = load_le<std::uint16_t>(sector, 22);
        wide = fat16 == 0;  // only FAT32 has its extended block, and it has no 16-bit FAT size
        fat_sectors = wide ? load_le<std::uint32_t>(sector, 36) : fat16;
        if (wide) {
            flags = load_le<std::uint16_t>(sector, 40);
            version = load_le<std::uint16_t>(sector, 42);
            root_cluster = load_le<std::uint32_t>(sector, 44);
        }
    }
    unsigned bytes_per_sector, sectors_per_cluster, reserved, fats, root_entries, media;
    std::uint64_t total = 0, fat_sectors = 0;
    bool wide = false;
    unsigned flags = 0, version = 0;
    std::uint64_t root_cluster = 0;
};

void check_is_fat(std::span<const std::byte> sector, const Bpb& bpb) {
    const std::string_view oem = as_text(sector.subspan(3, 8));
    for (std::string_view other : {"EXFAT   ", "NTFS    "})
        if (oem == other)
            throw_error(Code::kIntegrity, "the boot sector is of {}", other.substr(0, other.find(' ')));
    if (load_le<std::uint16_t>(sector, 510) != 0xAA55)
        throw_error(Code::kIntegrity, "no boot signature (55 aa) in the boot sector");
    if (!std::has_single_bit(bpb.bytes_per_sector) || bpb.bytes_per_sector < 512 ||
        bpb.bytes_per_sector > 4096)
        throw_error(Code::kIntegrity, "{} bytes a sector", bpb.bytes_per_sector);
    if (!std::has_single_bit(bpb.sectors_per_cluster))
        throw_error(Code::kIntegrity, "{} sectors a cluster", bpb.sectors_per_cluster);
    if (bpb.reserved == 0 || bpb.fats == 0 || bpb.fat_sectors == 0 || bpb.total == 0)
        throw_error(Code::kIntegrity,
                    "the boot sector counts {} reserved sectors, {} FATs of {} sectors, {} sectors",
                    bpb.reserved, bpb.fats, bpb.fat_sectors, bpb.total);
    if (bpb.media != 0xF0 && bpb.media < 0xF8) throw_error(Code::kIntegrity, "media byte {:#x}", bpb.media);
    if (bpb.version != 0) throw_error(Code::kIntegrity, "FAT32 version {:#x} is not known", bpb.version);
    if (bpb.root_entries * 32 % bpb.bytes_per_sector != 0 || (bpb.wide != (bpb.root_entries == 0)))
        throw_error(Code::kIntegrity, "a root directory of {} entries", bpb.root_entries);
}

// FAT32 is told by its boot sector, as Linux and UEFI firmware do it: mkfs.fat -F 32 makes small ones too,
// with fewer clusters than fatgen103 asks for. FAT12 and FAT16 are told apart by the count of clusters alone.
Width width_of(const Bpb& bpb, std::uint64_t clusters) {
    constexpr std::uint64_t kFat12End = 4085, kFat16End = 65525, kFat32End = 0x0FFFFFF5;
    if (bpb.wide ? clusters > kFat32End : clusters >= kFat16End)
        throw_error(Code::kIntegrity, "{} clusters are too many for a FAT{}", clusters, bpb.wide ? 32 : 16);
    if (bpb.wide) return Width::k32;
    return clusters < kFat12End ? Width::k12 : Width::k16;
}

}  // namespace

FatVolume read_fat_volume(const block::Reader& part) {
    constexpr std::uint64_t kBootBytes = 512;
    if (part.geometry().size_bytes < kBootBytes) throw_error(Code::kIntegrity, "too small for a boot sector");
    const Bytes sector = block::read_extent(part, {0, kBootBytes});
    const Bpb bpb(sector);
    check_is_fat(sector, bpb);

    // All of these are products of a 32-bit count and small numbers: no overflow in 64 bits.
    FatVolume volume;
    volume.sector_bytes = bpb.bytes_per_sector;
    volume.cluster_bytes = std::uint64_t{bpb.sectors_per_cluster} * bpb.bytes_per_sector;
    volume.fat_copies = bpb.fats;
    volume.fat_begin = std::uint64_t{bpb.reserved} * bpb.bytes_per_sector;
    volume.fat_bytes = bpb.fat_sectors * bpb.bytes_per_sector;
    volume.data_begin = volume.fat_begin + volume.fat_bytes * bpb.fats + std::uint64_t{bpb.root_entries} * 32;
    volume.end = bpb.total * bpb.bytes_per_sector;
    volume.media = bpb.media;
    volume.root_cluster = bpb.root_cluster;
    if (volume.end > part.geometry().size_bytes)
        throw_error(Code::kIntegrity, "the filesystem covers {} bytes, the partition has {}", volume.end,
                    part.geometry().size_bytes);
    if (volume.data_begin + volume.cluster_bytes > volume.end)
        throw_error(Code::kIntegrity, "no room for a cluster behind the FATs");
    volume.clusters = (volume.end - volume.data_begin) / volume.cluster_bytes;
    volume.width = width_of(bpb, volume.clusters);
    if (volume.fat_bytes_needed() > volume.fat_bytes)
        throw_error(Code::kIntegrity, "a FAT of {} bytes is too small for {} clusters", volume.fat_bytes,
                    volume.clusters);
    if (bpb.wide && (bpb.root_cluster < kFirstCluster || bpb.root_cluster >= volume.entries()))
        throw_error(Code::kIntegrity, "the root directory begins at cluster {} of {}", bpb.root_cluster,
                    volume.clusters);
    volume.mirrored = (bpb.flags & 0x80) == 0;
    volume.active_copy = volume.mirrored ? 0 : bpb.flags & 0x0F;
    if (volume.active_copy >= volume.fat_copies)
        throw_error(Code::kIntegrity, "FAT {} is the active one of {}", volume.active_copy,
                    volume.fat_copies);
    return volume;
}

}  // namespace dupengine::layout
