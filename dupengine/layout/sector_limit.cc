#include "layout/sector_limit.h"

#include <bit>

#include "base/bytes.h"

namespace dupengine::layout {
namespace {

using Kind = SectorLimit::Kind;

constexpr std::uint64_t kPage = 4096;  // what F2FS and swap read and write in

std::uint64_t number_at(const block::Reader& part, ByteOffset at, std::size_t size, bool big_endian) {
    if (at + size > part.geometry().size_bytes)
        throw_error(Code::kIntegrity, "a part of {} bytes ends before its superblock",
                    part.geometry().size_bytes);
    const Bytes bytes = block::read_extent(part, {at, at + size});
    if (size == 2) return big_endian ? load_be<std::uint16_t>(bytes, 0) : load_le<std::uint16_t>(bytes, 0);
    return big_endian ? load_be<std::uint32_t>(bytes, 0) : load_le<std::uint32_t>(bytes, 0);
}

std::uint64_t unit(std::uint64_t bytes, const char* what) {
    if (!std::has_single_bit(bytes) || bytes < 512 || bytes > 64 * kKiB)
        throw_error(Code::kIntegrity, "{} of {} bytes", what, bytes);
    return bytes;
}

SectorLimit largest(std::uint64_t bytes, std::string what, std::string advice) {
    return {Kind::kLargest, bytes, std::move(what), std::move(advice)};
}

// s_log_block_size of the superblock at byte 1024. The kernel sets the device to blocks of this size.
SectorLimit ext_limit(const block::Reader& part, const std::string& type) {
    const std::uint64_t log = number_at(part, 1024 + 24, 4, false);
    if (log > 6) throw_error(Code::kIntegrity, "blocks of 2^{} KiB", log);
    const std::uint64_t block = kKiB << log;
    return largest(block, fmt::format("{} with blocks of {} bytes", type, block),
                   "make it anew with mke2fs -b 4096 and copy its files");
}

// sb_sectsize and sb_logsectsize (0: 512). The kernel sets the device to sectors of this size when it mounts.
SectorLimit xfs_limit(const block::Reader& part) {
    const std::uint64_t sector = unit(number_at(part, 102, 2, true), "sectors");
    const std::uint64_t log = number_at(part, 194, 2, true);
    const std::uint64_t smaller = std::min(sector, log == 0 ? 512 : unit(log, "log sectors"));
    return largest(smaller, fmt::format("XFS with sectors of {} bytes", smaller),
                   "make it anew with mkfs.xfs -s size=4096 and copy its files");
}

// sectorsize of the first superblock: no extent and no block of a tree is smaller.
SectorLimit btrfs_limit(const block::Reader& part) {
    const std::uint64_t sector = unit(number_at(part, 64 * kKiB + 0x90, 4, false), "sectors");
    return largest(sector, fmt::format("btrfs with sectors of {} bytes", sector), "");
}

// The sector size in the boot sector of FAT and NTFS.
SectorLimit boot_sector_limit(const block::Reader& part, const char* name) {
    const std::uint64_t sector = unit(number_at(part, 11, 2, false), "sectors");
    return {Kind::kExact, sector, fmt::format("{} for sectors of {} bytes", name, sector),
            "make it anew on the target"};
}

SectorLimit exfat_limit(const block::Reader& part) {
    const std::uint64_t log = number_at(part, 108, 2, false) & 0xFF;
    if (log < 9 || log > 12) throw_error(Code::kIntegrity, "sectors of 2^{} bytes", log);
    const std::uint64_t sector = std::uint64_t{1} << log;
    return {Kind::kExact, sector, fmt::format("exFAT for sectors of {} bytes", sector),
            "make it anew on the target"};
}

}  // namespace

SectorLimit find_sector_limit(const block::Reader& part, const std::optional<Signature>& signature) {
    if (!signature) return {};
    const std::string& type = signature->type;
    if (type == "ext2" || type == "ext3" || type == "ext4" || type == "ext4dev" || type == "jbd")
        return ext_limit(part, type);
    if (type == "xfs") return xfs_limit(part);
    if (type == "btrfs") return btrfs_limit(part);
    if (type == "f2fs") return largest(kPage, "F2FS", "");
    if (type == "swap" || type == "swsuspend") return largest(kPage, "swap", "");
    if (type == "iso9660") return largest(2048, "ISO 9660", "it is made of 2048 byte blocks");
    if (type == "vfat" || type == "msdos") return boot_sector_limit(part, "FAT");
    if (type == "ntfs") return boot_sector_limit(part, "NTFS");
    if (type == "exfat") return exfat_limit(part);
    return {};
}

}  // namespace dupengine::layout
