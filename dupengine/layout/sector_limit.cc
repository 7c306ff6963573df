#include "layout/sector_limit.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "layout/lvm_label.h"
#include "layout/lvm_volume.h"

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

// Of something that lies at these places and has to begin with a whole sector.
std::uint64_t alignment_of(std::uint64_t places) {
    constexpr std::uint64_t kEnough = 64 * kKiB;
    return std::uint64_t{1} << std::countr_zero(places | kEnough);
}

// Which of the group's physical volumes this part is.
std::size_t number_in(const LvmGroup& group, const std::string& id) {
    for (std::size_t i = 0; i < group.physical.size(); ++i)
        if (group.physical[i].id == id) return i;
    throw_error(Code::kIntegrity, "it is no physical volume of its group {}", group.name);
}

std::vector<SectorLimit> volume_limits(const std::string& name, const LvmLogicalVolume& volume,
                                       const std::vector<const block::Reader*>& parts) {
    const auto is_here = [&](const LvmSegment& segment) {
        return std::all_of(segment.stripes.begin(), segment.stripes.end(),
                           [&](const LvmSegment::Stripe& stripe) { return parts[stripe.volume] != nullptr; });
    };
    if (!volume.special.empty() || !std::all_of(volume.segments.begin(), volume.segments.end(), is_here))
        return {{Kind::kUnknown, 0, name, ""}};
    const LvmVolumeReader reader(volume, parts);
    const auto signature = probe_signature(reader);
    if (signature && signature->type == "LVM2_member")  // LVM in LVM: once is enough
        return {{Kind::kUnknown, 0, name, ""}};
    std::vector<SectorLimit> limits = find_sector_limits(reader, signature);
    for (SectorLimit& limit : limits)
        limit.what = limit.what.empty() ? name : fmt::format("{}: {}", name, limit.what);
    return limits;
}

// Logical volumes are mapped in whole sectors, and what is on them has limits of its own.
std::vector<SectorLimit> lvm_limits(const block::Reader& part) {
    const LvmLabel label = read_lvm_label(part);
    if (label.metadata.empty())
        throw_error(Code::kIntegrity, "what is on it is written on another physical volume of its group");
    const LvmGroup group = parse_lvm_group(label.metadata.front());
    const std::size_t own = number_in(group, label.id);
    std::vector<const block::Reader*> parts(group.physical.size());
    parts[own] = &part;
    std::uint64_t places = group.physical[own].extents.begin;
    std::vector<SectorLimit> limits;
    for (const LvmLogicalVolume& volume : group.logical) {
        for (const LvmSegment& segment : volume.segments)
            for (const LvmSegment::Stripe& stripe : segment.stripes)
                if (stripe.volume == own)
                    places |= stripe.place.begin | stripe.place.end | segment.stripe_bytes;
        const std::string name = fmt::format("logical volume {}/{}", group.name, volume.name);
        for (SectorLimit& limit : volume_limits(name, volume, parts))
            limits.push_back(std::move(limit));
    }
    limits.push_back(largest(
        alignment_of(places),
        fmt::format("LVM group {} with extents at multiples of {} bytes", group.name, alignment_of(places)),
        ""));
    return limits;
}

// Where the encrypted data begins: the payload of LUKS1 in units of 512 bytes; the segments of LUKS2, in JSON
// behind the binary header of 4 KiB (LUKS2 On-Disk Format 1.1). dm-crypt maps in whole sectors of the disk.
std::uint64_t luks_places(const block::Reader& part) {
    constexpr std::uint64_t kBinaryHeader = 4096, kLargestHeader = 4 * kMiB;
    const std::uint64_t version = number_at(part, 6, 2, true);
    if (version == 1) return number_at(part, 104, 4, true) * 512;
    const std::uint64_t size = number_at(part, 12, 4, true);  // the lower half of 64 bits
    if (version != 2 || number_at(part, 8, 4, true) != 0 || size <= kBinaryHeader || size > kLargestHeader ||
        size > part.geometry().size_bytes)
        throw_error(Code::kIntegrity, "version {}, a header of {} bytes", version, size);
    const Bytes area = block::read_extent(part, {kBinaryHeader, size});
    const std::string_view text = as_text(area).substr(0, as_text(area).find('\0'));
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded() || !json.contains("segments") || !json["segments"].is_object())
        throw_error(Code::kIntegrity, "its header does not say where its segments are");
    std::uint64_t places = 0;
    for (const auto& segment : json["segments"]) {
        if (!segment.is_object() || !segment.contains("offset") || !segment["offset"].is_string())
            throw_error(Code::kIntegrity, "a segment without an offset");
        try {
            places |= parse_size(segment["offset"].get<std::string>());
        } catch (const Error&) {
            throw_error(Code::kIntegrity, "the offset of a segment is no number");
        }
    }
    return places;
}

std::vector<SectorLimit> luks_limits(const block::Reader& part) {
    const std::uint64_t alignment = alignment_of(luks_places(part));
    return {largest(alignment, fmt::format("LUKS with data at a multiple of {} bytes", alignment),
                    "encrypt the data anew on the target"),
            {Kind::kUnknown, 0, "what LUKS encrypts", ""}};
}

}  // namespace

std::vector<SectorLimit> find_sector_limits(const block::Reader& part,
                                            const std::optional<Signature>& signature) {
    if (!signature) return {{Kind::kUnknown, 0, "", ""}};
    const std::string& type = signature->type;
    if (type == "ext2" || type == "ext3" || type == "ext4" || type == "ext4dev" || type == "jbd")
        return {ext_limit(part, type)};
    if (type == "xfs") return {xfs_limit(part)};
    if (type == "btrfs") return {btrfs_limit(part)};
    if (type == "f2fs") return {largest(kPage, "F2FS", "")};
    if (type == "swap" || type == "swsuspend") return {largest(kPage, "swap", "")};
    if (type == "iso9660") return {largest(2048, "ISO 9660", "it is made of blocks of 2048 bytes")};
    if (type == "vfat" || type == "msdos") return {boot_sector_limit(part, "FAT")};
    if (type == "ntfs") return {boot_sector_limit(part, "NTFS")};
    if (type == "BitLocker") return {boot_sector_limit(part, "BitLocker")};
    if (type == "exfat") return {exfat_limit(part)};
    if (type == "LVM2_member") return lvm_limits(part);
    if (type == "crypto_LUKS") return luks_limits(part);
    return {{Kind::kUnknown, 0, type, ""}};
}

}  // namespace dupengine::layout
