#include "layout/exfat_volume.h"

#include <bit>

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kBootRegionSectors = 12;  // main and backup, one behind the other

// Of the first eleven sectors, leaving out what changes while it is mounted: the flags and the percentage.
// The twelfth is full of it.
void check_boot_checksum(const block::Reader& part, std::uint64_t sector_bytes) {
    const Bytes region = block::read_extent(part, {0, kBootRegionSectors * sector_bytes});
    const std::size_t summed = (kBootRegionSectors - 1) * sector_bytes;
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < summed; ++i)
        if (i != 106 && i != 107 && i != 112)
            sum = std::rotr(sum, 1) + std::to_integer<std::uint32_t>(region[i]);
    for (std::size_t at = summed; at < region.size(); at += sizeof sum)
        if (load_le<std::uint32_t>(region, at) != sum)
            throw_error(Code::kIntegrity, "the boot region does not match its checksum");
}

}  // namespace

ExfatVolume read_exfat_volume(const block::Reader& part) {
    constexpr std::uint64_t kBootBytes = 512;
    if (part.geometry().size_bytes < kBootBytes) throw_error(Code::kIntegrity, "too small for a boot sector");
    const Bytes sector = block::read_extent(part, {0, kBootBytes});
    const auto u32 = [&](std::size_t at) -> std::uint64_t { return load_le<std::uint32_t>(sector, at); };
    const auto u8 = [&](std::size_t at) { return std::to_integer<unsigned>(sector[at]); };
    if (as_text(std::span(sector).subspan(3, 8)) != "EXFAT   " ||
        load_le<std::uint16_t>(sector, 510) != 0xAA55 || !is_zero(std::span(sector).subspan(11, 53)))
        throw_error(Code::kIntegrity, "no boot sector");
    if (u8(105) != 1) throw_error(Code::kIntegrity, "revision {}.{} is not known", u8(105), u8(104));
    const unsigned sector_log = u8(108), cluster_log = u8(109);
    if (sector_log < 9 || sector_log > 12 || cluster_log > 25 - sector_log)
        throw_error(Code::kIntegrity, "sectors of 2^{} bytes, clusters of 2^{} sectors", sector_log,
                    cluster_log);
    ExfatVolume volume;
    volume.sector_bytes = std::uint64_t{1} << sector_log;
    volume.cluster_bytes = volume.sector_bytes << cluster_log;
    if (part.geometry().size_bytes < 2 * kBootRegionSectors * volume.sector_bytes)
        throw_error(Code::kIntegrity, "too small for its boot regions");
    check_boot_checksum(part, volume.sector_bytes);
    volume.flags = load_le<std::uint16_t>(sector, 106);
    if (u8(110) != 1 || (volume.flags & 1) != 0)
        throw_error(Code::kIntegrity, "it has {} FATs, number {} in force: TexFAT is not known", u8(110),
                    volume.flags & 1);

    // Products of a 32-bit count and at most 2^25; only the length of the volume has 64 bits.
    volume.end =
        checked_mul(load_le<std::uint64_t>(sector, 72), volume.sector_bytes, "the length of the volume");
    if (volume.end > part.geometry().size_bytes)
        throw_error(Code::kIntegrity, "the filesystem covers {} bytes, the partition has {}", volume.end,
                    part.geometry().size_bytes);
    volume.clusters = load_le<std::uint32_t>(sector, 92);
    volume.fat_begin = u32(80) * volume.sector_bytes;
    volume.heap_begin = u32(88) * volume.sector_bytes;
    const std::uint64_t fat_bytes = u32(84) * volume.sector_bytes;
    if (volume.clusters == 0 || volume.clusters > 0xFFFFFFF5 ||
        volume.fat_begin < 2 * kBootRegionSectors * volume.sector_bytes ||
        fat_bytes / 4 < std::uint64_t{volume.clusters} + ExfatVolume::kFirstCluster ||
        volume.heap_begin < volume.fat_begin + fat_bytes ||
        volume.heap_begin + volume.clusters * volume.cluster_bytes > volume.end)
        throw_error(Code::kIntegrity, "a FAT of {} bytes at {}, {} clusters at {}, of {} bytes in all",
                    fat_bytes, volume.fat_begin, volume.clusters, volume.heap_begin, volume.end);
    volume.root = load_le<std::uint32_t>(sector, 96);
    return volume;
}

}  // namespace dupengine::layout
