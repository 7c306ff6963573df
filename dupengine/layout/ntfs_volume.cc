#include "layout/ntfs_volume.h"

#include <bit>

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kBootBytes = 512;
constexpr std::uint64_t kLargestCluster = 2 * kMiB, kLargestRecord = 64 * kKiB;
constexpr std::uint64_t kClusterLimit = std::uint64_t{1} << 48;  // far above the 2^32 of Windows

// A count up to 0x80, or a shift as a negative number: 0xF8 is 256 (from 128 KiB clusters of 512-byte
// sectors).
std::uint64_t sectors_per_cluster(unsigned value) {
    if (value <= 0x80) return value;
    const unsigned shift = 0x100 - value;
    if (shift > 12) throw_error(Code::kIntegrity, "{:#x} sectors a cluster", value);
    return std::uint64_t{1} << shift;
}

// Clusters if positive, a power of two of bytes if negative: 0xF6 is 1024.
std::uint64_t structure_bytes(unsigned value, std::uint64_t cluster_bytes, const char* what) {
    std::uint64_t bytes = 0;
    if (value < 0x80)
        bytes = value * cluster_bytes;
    else if (0x100 - value < 32)
        bytes = std::uint64_t{1} << (0x100 - value);
    if (!std::has_single_bit(bytes) || bytes < 512 || bytes > kLargestRecord)
        throw_error(Code::kIntegrity, "{} of size {:#x}", what, value);
    return bytes;
}

void check_is_ntfs(std::span<const std::byte> boot) {
    if (as_text(boot.subspan(3, 8)) != "NTFS    ")
        throw_error(Code::kIntegrity, "its boot sector is not of NTFS");
    if (load_le<std::uint16_t>(boot, 510) != 0xAA55)
        throw_error(Code::kIntegrity, "no boot signature (55 aa) in the boot sector");
    // What would make a FAT of it has to be zero: reserved sectors, FATs, root entries, sectors, their sizes.
    const bool zeros =
        is_zero(boot.subspan(14, 7)) && is_zero(boot.subspan(22, 2)) && is_zero(boot.subspan(32, 4));
    if (!zeros) throw_error(Code::kIntegrity, "its boot sector has fields that belong to FAT");
}

// What says where everything is; boot code and the sectors before the partition may differ.
bool is_same_volume(std::span<const std::byte> one, std::span<const std::byte> other) {
    const auto equal = [&](std::size_t at, std::size_t size) {
        return as_text(one.subspan(at, size)) == as_text(other.subspan(at, size));
    };
    return equal(3, 11) && equal(40, 40);
}

}  // namespace

NtfsVolume read_ntfs_boot_sector(const block::Reader& part) {
    const std::uint64_t part_bytes = part.geometry().size_bytes;
    if (part_bytes < kBootBytes) throw_error(Code::kIntegrity, "too small for a boot sector");
    const Bytes boot = block::read_extent(part, {0, kBootBytes});
    check_is_ntfs(boot);

    NtfsVolume volume;
    volume.sector_bytes = load_le<std::uint16_t>(boot, 11);
    if (!std::has_single_bit(volume.sector_bytes) || volume.sector_bytes < 256 || volume.sector_bytes > 4096)
        throw_error(Code::kIntegrity, "{} bytes a sector", volume.sector_bytes);
    const std::uint64_t cluster_sectors = sectors_per_cluster(std::to_integer<unsigned>(boot[13]));
    volume.cluster_bytes = cluster_sectors * volume.sector_bytes;
    if (!std::has_single_bit(cluster_sectors) || volume.cluster_bytes < 512 ||
        volume.cluster_bytes > kLargestCluster)
        throw_error(Code::kIntegrity, "{} sectors a cluster", cluster_sectors);
    volume.sectors = load_le<std::uint64_t>(boot, 40);
    volume.mft_cluster = load_le<std::uint64_t>(boot, 48);
    volume.mirror_cluster = load_le<std::uint64_t>(boot, 56);
    volume.record_bytes =
        structure_bytes(std::to_integer<unsigned>(boot[64]), volume.cluster_bytes, "file records");
    volume.index_bytes =
        structure_bytes(std::to_integer<unsigned>(boot[68]), volume.cluster_bytes, "index blocks");

    // The copy of the boot sector lies behind the last sector that the volume counts.
    if (volume.sectors == 0 || volume.sectors >= part_bytes / volume.sector_bytes)
        throw_error(Code::kIntegrity, "the volume covers {} sectors of {} bytes, the partition has {} bytes",
                    volume.sectors, volume.sector_bytes, part_bytes);
    volume.clusters = volume.sectors / cluster_sectors;
    if (volume.clusters == 0 || volume.clusters > kClusterLimit)
        throw_error(Code::kIntegrity, "a volume of {} clusters", volume.clusters);
    if (volume.mft_cluster == 0 || volume.mft_cluster >= volume.clusters || volume.mirror_cluster == 0 ||
        volume.mirror_cluster >= volume.clusters)
        throw_error(Code::kIntegrity, "the master file table at cluster {}, its mirror at {}, of {}",
                    volume.mft_cluster, volume.mirror_cluster, volume.clusters);
    const ByteOffset copy = volume.copy_at();
    volume.has_copy = copy + kBootBytes <= part_bytes &&
                      is_same_volume(boot, block::read_extent(part, {copy, copy + kBootBytes}));
    return volume;
}

}  // namespace dupengine::layout
