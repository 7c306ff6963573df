// FAT12, FAT16 and FAT32 after Microsoft's "FAT: General Overview of On-Disk Format" 1.03 (fatgen103). Used
// are the reserved sectors, every copy of the FAT, the root directory of FAT12/16, and the clusters whose FAT
// entry is neither free nor marked bad. A bad-cluster mark is in the FAT and so is copied; what the bad
// cluster holds is not read.

#include <algorithm>
#include <bit>
#include <vector>

#include "layout/extent_collector.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kFirstCluster = 2;  // entries 0 and 1 hold the media byte and the clean/error bits

enum class Width { k12 = 12, k16 = 16, k32 = 32 };

struct Volume {
    Width width = Width::k32;
    std::uint64_t sector_bytes = 0, cluster_bytes = 0;
    std::uint64_t fat_begin = 0, fat_bytes = 0;  // first copy; the size of one copy
    unsigned fat_copies = 0;
    unsigned active_copy = 0;
    bool mirrored = true;          // false: only active_copy is kept up to date
    std::uint64_t data_begin = 0;  // of cluster 2
    std::uint64_t clusters = 0;
    std::uint64_t end = 0;  // of the filesystem
    unsigned media = 0;

    std::uint64_t entries() const { return clusters + kFirstCluster; }
    std::uint64_t fat_bytes_needed() const { return (entries() * static_cast<unsigned>(width) + 7) / 8; }
};

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

Volume read_volume(const block::Reader& part) {
    constexpr std::uint64_t kBootBytes = 512;
    if (part.geometry().size_bytes < kBootBytes) throw_error(Code::kIntegrity, "too small for a boot sector");
    const Bytes sector = block::read_extent(part, {0, kBootBytes});
    const Bpb bpb(sector);
    check_is_fat(sector, bpb);

    // All of these are products of a 32-bit count and small numbers: no overflow in 64 bits.
    Volume volume;
    volume.sector_bytes = bpb.bytes_per_sector;
    volume.cluster_bytes = std::uint64_t{bpb.sectors_per_cluster} * bpb.bytes_per_sector;
    volume.fat_copies = bpb.fats;
    volume.fat_begin = std::uint64_t{bpb.reserved} * bpb.bytes_per_sector;
    volume.fat_bytes = bpb.fat_sectors * bpb.bytes_per_sector;
    volume.data_begin = volume.fat_begin + volume.fat_bytes * bpb.fats + std::uint64_t{bpb.root_entries} * 32;
    volume.end = bpb.total * bpb.bytes_per_sector;
    volume.media = bpb.media;
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

std::uint32_t entry_in(const Volume& volume, std::span<const std::byte> piece, std::uint64_t index) {
    switch (volume.width) {
        case Width::k12: {
            const auto pair = load_le<std::uint16_t>(piece, static_cast<std::size_t>(index + index / 2));
            return index % 2 == 0 ? pair & 0x0FFFu : static_cast<std::uint32_t>(pair >> 4);
        }
        case Width::k16:
            return load_le<std::uint16_t>(piece, static_cast<std::size_t>(index * 2));
        case Width::k32:
            return load_le<std::uint32_t>(piece, static_cast<std::size_t>(index * 4)) & 0x0FFFFFFFu;
    }
    throw_error(Code::kInternal, "a FAT of no width");
}

bool is_allocated(const Volume& volume, std::uint32_t entry) {
    const std::uint32_t bad = volume.width == Width::k12   ? 0xFF7u
                              : volume.width == Width::k16 ? 0xFFF7u
                                                           : 0x0FFFFFF7u;
    return entry != 0 && entry != bad;
}

// Entry 0 repeats the media byte; entry 1 holds, from the top, "unmounted cleanly" and "no disk errors seen".
std::string check_first_entries(const Volume& volume, std::span<const std::byte> piece) {
    const std::uint32_t first = entry_in(volume, piece, 0), second = entry_in(volume, piece, 1);
    if ((first & 0xFF) != volume.media)
        throw_error(Code::kIntegrity, "the FAT begins with {:#x}, the boot sector says media {:#x}", first,
                    volume.media);
    if (volume.width == Width::k12) return {};
    const unsigned top = volume.width == Width::k16 ? 15 : 27;
    if ((second >> top & 1) == 0) return "not unmounted cleanly; copied as it is";
    if ((second >> (top - 1) & 1) == 0) return "a driver met disk errors on it; copied as it is";
    return {};
}

// Linux keeps its own mark in the boot sector (include/uapi/linux/msdos_fs.h, FAT_STATE_DIRTY).
bool linux_marked_dirty(const block::Reader& part, const Volume& volume) {
    const ByteOffset at = volume.width == Width::k32 ? 65 : 37;
    return (std::to_integer<unsigned>(block::read_extent(part, {at, at + 1})[0]) & 1) != 0;
}

// Walks the FATs in step, in pieces of bounded size. A cluster that any copy in force calls allocated is
// used: where copies disagree nobody can tell which one is right.
class FatWalk {
  public:
    FatWalk(const block::Reader& part, const Volume& volume) : part_(part), volume_(volume) {
        if (volume.mirrored)
            for (unsigned copy = 0; copy < volume.fat_copies; ++copy)
                copies_.push_back(copy);
        else
            copies_.push_back(volume.active_copy);
    }

    void run(UsedExtents& result) {
        // A multiple of 3 and 8, so that no entry of 12, 16 or 32 bits lies on the border of two pieces.
        constexpr std::uint64_t kPieceEntries = 192 * kKiB;
        for (std::uint64_t first = 0; first < volume_.entries(); first += kPieceEntries)
            take_piece(first, std::min(kPieceEntries, volume_.entries() - first), result);
        if (disagree_)
            add_note(result, "the copies of its FAT disagree; what any of them calls used is copied");
    }

    static void add_note(UsedExtents& result, const std::string& note) {
        if (!note.empty()) result.note += (result.note.empty() ? "" : "; ") + note;
    }

    block::ExtentSet take() { return collected_.take(); }

    void add(block::Extent extent) { collected_.add(extent); }

  private:
    void take_piece(std::uint64_t first, std::uint64_t count, UsedExtents& result) {
        const auto bits = static_cast<unsigned>(volume_.width);
        const std::uint64_t skip = first * bits / 8, size = (count * bits + 7) / 8;
        std::vector<Bytes> pieces;
        for (unsigned copy : copies_) {
            const ByteOffset at = volume_.fat_begin + copy * volume_.fat_bytes + skip;
            Bytes piece = block::read_extent(part_, {at, at + size});
            // Copies that agree need not be looked at twice, nor kept: there may be 255 of them.
            if (std::find(pieces.begin(), pieces.end(), piece) == pieces.end())
                pieces.push_back(std::move(piece));
            if (pieces.size() > kVersionLimit)
                throw_error(Code::kIntegrity, "more than {} copies of its FAT disagree", kVersionLimit);
        }
        disagree_ = disagree_ || pieces.size() > 1;
        if (first == 0) add_note(result, check_first_entries(volume_, pieces.front()));
        for (std::uint64_t i = first == 0 ? kFirstCluster : 0; i < count; ++i) {
            const bool used = std::any_of(pieces.begin(), pieces.end(), [&](const Bytes& piece) {
                return is_allocated(volume_, entry_in(volume_, piece, i));
            });
            if (!used) continue;
            const ByteOffset at = volume_.data_begin + (first + i - kFirstCluster) * volume_.cluster_bytes;
            collected_.add({at, at + volume_.cluster_bytes});
        }
    }

    static constexpr std::size_t kVersionLimit = 4;
    const block::Reader& part_;
    const Volume& volume_;
    std::vector<unsigned> copies_;
    ExtentCollector collected_;
    bool disagree_ = false;
};

}  // namespace

UsedExtents fat_used_extents(const block::Reader& part) {
    const Volume volume = read_volume(part);
    UsedExtents result;
    result.block_bytes = volume.sector_bytes;  // clusters need not be aligned to their own size
    result.filesystem_bytes = volume.end;
    FatWalk walk(part, volume);
    walk.add({0, volume.data_begin});
    walk.run(result);
    if (result.note.empty() && linux_marked_dirty(part, volume))
        result.note = "not unmounted cleanly; copied as it is";
    if (!volume.mirrored)
        FatWalk::add_note(result, fmt::format("only FAT {} is kept up to date", volume.active_copy));
    result.used = walk.take();
    return result;
}

}  // namespace dupengine::layout
