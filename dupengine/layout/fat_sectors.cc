#include "layout/fat_sectors.h"

#include <algorithm>

#include "base/units.h"
#include "block/find_data.h"
#include "block/patchwork.h"
#include "layout/fat_entries.h"
#include "layout/fat_volume.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using Volume = FatVolume;
using Width = FatVolume::Width;
constexpr std::uint64_t kFirstCluster = FatVolume::kFirstCluster;

constexpr std::uint64_t kBootBytes = 512;  // of a boot sector or FSInfo, whatever the size of the sector
constexpr std::uint64_t kSixteenBits = 0xFFFF, kThirtyTwoBits = 0xFFFFFFFF;

/// Where things go, in sectors of the new size unless it says bytes.
struct Layout {
    std::uint64_t sector_bytes = 0;
    std::uint64_t sectors_per_cluster = 0, reserved = 0, fat_sectors = 0, root_entries = 0, total = 0;
    std::uint64_t clusters = 0;
    ByteOffset data_begin = 0;
    std::uint64_t backup_boot = 0;  // FAT32

    ByteOffset fat_begin(unsigned copy) const { return (reserved + copy * fat_sectors) * sector_bytes; }
    ByteOffset root_begin() const { return data_begin - root_entries * 32; }
};

/// What a volume does not say of its boot sector.
struct Bpb {
    explicit Bpb(std::span<const std::byte> boot)
        : reserved(load_le<std::uint16_t>(boot, 14)),
          root_entries(load_le<std::uint16_t>(boot, 17)),
          wide(load_le<std::uint16_t>(boot, 22) == 0) {}
    unsigned reserved, root_entries;
    bool wide;  // FAT32: it has no 16-bit FAT size
};

struct Old {
    const block::Reader& part;
    Bytes boot;
    Bpb bpb;
    Volume volume;
};

void check_cluster_size(const Volume& volume, std::uint64_t sector_bytes) {
    constexpr std::uint64_t kMostSectors = 128;
    if (volume.cluster_bytes < sector_bytes)
        throw_error(Code::kRefused,
                    "FAT with clusters of {} bytes cannot be used in sectors of {} bytes; make it anew with "
                    "mkfs.fat -S {} and copy its files",
                    volume.cluster_bytes, sector_bytes, sector_bytes);
    if (volume.cluster_bytes / sector_bytes > kMostSectors)
        throw_error(Code::kRefused, "FAT with clusters of {} bytes: more than {} sectors of {} bytes",
                    volume.cluster_bytes, kMostSectors, sector_bytes);
}

// The clusters stay where they are if everything in front of them has room there; else they move up by as
// little as possible, and those that pass the end are given up.
Layout lay_out(const Old& old, std::uint64_t sector_bytes, std::uint64_t size_bytes,
               std::uint64_t least_reserved) {
    const Volume& volume = old.volume;
    Layout layout;
    layout.sector_bytes = sector_bytes;
    layout.sectors_per_cluster = volume.cluster_bytes / sector_bytes;
    layout.root_entries = align_up(std::uint64_t{old.bpb.root_entries} * 32, sector_bytes) / 32;
    layout.fat_sectors = (volume.fat_bytes_needed() + sector_bytes - 1) / sector_bytes;
    const std::uint64_t behind =
        volume.fat_copies * layout.fat_sectors * sector_bytes + layout.root_entries * 32;
    const ByteOffset least = least_reserved * sector_bytes + behind;
    const bool stays = volume.data_begin % sector_bytes == 0 && volume.data_begin >= least &&
                       (volume.data_begin - behind) / sector_bytes <= kSixteenBits;
    layout.data_begin = stays ? volume.data_begin : least;
    layout.reserved = (layout.data_begin - behind) / sector_bytes;
    const ByteOffset end = align_down(std::min(volume.end, size_bytes), sector_bytes);
    const std::uint64_t room = end > layout.data_begin ? end - layout.data_begin : 0;
    layout.clusters = std::min(volume.clusters, room / volume.cluster_bytes);
    // No more clusters than it had: its FATs say nothing about others.
    const ByteOffset most = layout.data_begin + (layout.clusters + 1) * volume.cluster_bytes - sector_bytes;
    layout.total = std::min(end, most) / sector_bytes;
    if (old.bpb.wide) layout.backup_boot = least_reserved - 2;
    return layout;
}

void check_fields(const Old& old, const Layout& layout) {
    const std::uint64_t fat_limit = old.bpb.wide ? kThirtyTwoBits : kSixteenBits;
    if (layout.clusters == 0 || layout.total > kThirtyTwoBits || layout.fat_sectors > fat_limit ||
        layout.root_entries > kSixteenBits)
        throw_error(Code::kRefused,
                    "a FAT of {} clusters and {} root entries cannot be expressed in sectors of {} bytes",
                    old.volume.clusters, old.bpb.root_entries, layout.sector_bytes);
}

// FAT12 and FAT16 are told apart by the count of clusters alone, and some systems tell FAT32 by it.
void check_width_stays(const Old& old, const Layout& layout) {
    constexpr std::uint64_t kFat12End = 4085, kFat16End = 65525;
    const std::uint64_t least = old.volume.width == Width::k16   ? kFat12End
                                : old.volume.width == Width::k32 ? kFat16End
                                                                 : 0;
    if (old.volume.clusters >= least && layout.clusters < least)
        throw_error(Code::kRefused, "with {} clusters of {} it would no longer be a FAT{}", layout.clusters,
                    old.volume.clusters, static_cast<unsigned>(old.volume.width));
}

struct Lost {
    std::uint64_t free = 0;               // of the clusters given up; the others are marked bad
    std::optional<std::uint64_t> in_use;  // the first of them that is
};

Lost look_at_lost(const Old& old, const Layout& layout) {
    const Volume& volume = old.volume;
    const auto bits = static_cast<std::uint64_t>(volume.width);
    const std::uint64_t first = layout.clusters + kFirstCluster;
    const std::uint64_t from = align_down(first, 8);  // whole bytes in every width
    Lost lost;
    for (std::uint64_t i = first; i < volume.entries() && !lost.in_use; ++i) {
        bool is_free = true;
        for (unsigned copy = 0; copy < volume.fat_copies; ++copy) {
            if (!volume.mirrored && copy != volume.active_copy) continue;
            const ByteOffset at = volume.fat_begin + copy * volume.fat_bytes;
            // A piece around the entry: these are few, and mostly in one page.
            const std::uint64_t group = from + align_down(i - from, 8);
            const Bytes piece =
                block::read_extent(old.part, {at + group * bits / 8, at + group * bits / 8 + bits});
            const std::uint32_t entry = fat_entry_in(volume.width, piece, i - group);
            if (fat_entry_is_allocated(volume.width, entry)) lost.in_use = i;
            is_free = is_free && entry == 0;
        }
        if (is_free) ++lost.free;
    }
    return lost;
}

Bytes new_boot_sector(const Old& old, const Layout& layout, ByteOffset begin, bool has_info,
                      bool has_backup) {
    Bytes boot = old.boot;
    const auto u16 = [&](std::size_t at, std::uint64_t value) {
        store_le<std::uint16_t>(boot, at, static_cast<std::uint16_t>(value));
    };
    const auto u32 = [&](std::size_t at, std::uint64_t value) {
        store_le<std::uint32_t>(boot, at, static_cast<std::uint32_t>(value));
    };
    u16(11, layout.sector_bytes);
    boot[13] = static_cast<std::byte>(layout.sectors_per_cluster);
    u16(14, layout.reserved);
    u16(17, layout.root_entries);
    const bool short_total = !old.bpb.wide && layout.total <= kSixteenBits;
    u16(19, short_total ? layout.total : 0);
    u32(32, short_total ? 0 : layout.total);
    // Sectors in front of it on the disk; for a boot loader of the BIOS. 0 where nobody filled it in.
    const std::uint64_t hidden = load_le<std::uint32_t>(boot, 28);
    if (hidden * old.volume.sector_bytes == begin)
        u32(28, std::min(begin / layout.sector_bytes, kThirtyTwoBits));
    if (!old.bpb.wide) {
        u16(22, layout.fat_sectors);
        return boot;
    }
    u32(36, layout.fat_sectors);
    u16(48, has_info ? 1 : 0);
    u16(50, has_backup ? layout.backup_boot : 0);
    return boot;
}

// FSInfo of FAT32, if it has a good one: how many clusters are free, and where to look for one.
Bytes find_info(const Old& old, std::uint64_t number) {
    if (!old.bpb.wide || number == 0 || number >= old.bpb.reserved) return {};
    const ByteOffset at = number * old.volume.sector_bytes;
    Bytes info = block::read_extent(old.part, {at, at + kBootBytes});
    const bool good = load_le<std::uint32_t>(info, 0) == 0x41615252 &&
                      load_le<std::uint32_t>(info, 484) == 0x61417272 &&
                      load_le<std::uint16_t>(info, 510) == 0xAA55;
    return good ? info : Bytes();
}

void correct_info(Bytes& info, const Layout& layout, const Lost& lost) {
    constexpr std::uint32_t kUnknown = 0xFFFFFFFF;
    const std::uint32_t free = load_le<std::uint32_t>(info, 488);
    if (free != kUnknown)
        store_le<std::uint32_t>(info, 488,
                                free >= lost.free ? free - static_cast<std::uint32_t>(lost.free) : kUnknown);
    if (load_le<std::uint32_t>(info, 492) >= layout.clusters + kFirstCluster)
        store_le<std::uint32_t>(info, 492, kUnknown);
}

// Boot code behind the boot sector: it reads sectors of the old size at their old places.
bool holds_more_boot_code(const Old& old, std::uint64_t info, std::uint64_t backup) {
    block::ExtentSet rest{Extent{0, old.volume.fat_begin}};
    std::vector<std::uint64_t> known{0};
    if (old.bpb.wide) known.insert(known.end(), {info, backup, backup + info});
    for (const std::uint64_t sector : known) {
        const ByteOffset at = sector * old.volume.sector_bytes;
        rest.erase({at, at + kBootBytes});
    }
    return std::any_of(rest.begin(), rest.end(),
                       [&](Extent e) { return block::find_data(old.part, e).has_value(); });
}

// Keeps the part alive that its patches read.
struct View {
    std::shared_ptr<const block::Reader> part;
    block::Patchwork patchwork;
};

void lay_content(block::Patchwork& view, const Old& old, const Layout& layout) {
    const Volume& volume = old.volume;
    const std::uint64_t fat_bytes =
        ((layout.clusters + kFirstCluster) * static_cast<unsigned>(volume.width) + 7) / 8;
    for (unsigned copy = 0; copy < volume.fat_copies; ++copy) {
        const ByteOffset at = layout.fat_begin(copy);
        view.lay({at, at + fat_bytes}, old.part, volume.fat_begin + copy * volume.fat_bytes);
    }
    const std::uint64_t root_bytes = std::uint64_t{old.bpb.root_entries} * 32;
    view.lay({layout.root_begin(), layout.root_begin() + root_bytes}, old.part,
             volume.data_begin - root_bytes);
    const std::uint64_t data_bytes = layout.clusters * volume.cluster_bytes;
    view.lay({layout.data_begin, layout.data_begin + data_bytes}, old.part, volume.data_begin);
    // Somebody's bytes behind its end.
    const std::uint64_t size = view.geometry().size_bytes;
    if (volume.end < size) view.lay({volume.end, size}, old.part, volume.end);
}

std::string describe(const Old& old, const Layout& layout, bool more_boot_code) {
    const Volume& volume = old.volume;
    std::string text = fmt::format("its FAT{} is counted in sectors of {} bytes",
                                   static_cast<unsigned>(volume.width), layout.sector_bytes);
    if (layout.data_begin != volume.data_begin)
        text += fmt::format(
            ", its clusters lie {} {}",
            format_size(layout.data_begin > volume.data_begin ? layout.data_begin - volume.data_begin
                                                              : volume.data_begin - layout.data_begin),
            layout.data_begin > volume.data_begin ? "further back" : "further in front");
    if (layout.clusters != volume.clusters)
        text += fmt::format(", it has {} free clusters less", volume.clusters - layout.clusters);
    if (more_boot_code) text += "; boot code behind its boot sector, made for the old sectors, is left out";
    return text;
}

// With the backup of the boot sector at its usual place, sector 6, or close to the boot sector if that would
// cost clusters in use.
std::pair<Layout, Lost> find_layout(const Old& old, std::uint64_t sector_bytes, std::uint64_t size_bytes) {
    std::vector<std::uint64_t> least_reserved{8, 4};
    if (!old.bpb.wide) least_reserved = {1};
    Layout layout;
    Lost lost;
    for (const std::uint64_t least : least_reserved) {
        layout = lay_out(old, sector_bytes, size_bytes, least);
        check_fields(old, layout);
        lost = look_at_lost(old, layout);
        if (!lost.in_use) break;
    }
    if (lost.in_use)
        throw_error(
            Code::kRefused,
            "its FAT needs more room in sectors of {} bytes, and cluster {}, one of the last {}, is in "
            "use; free some of it, or make it anew on the target",
            sector_bytes, *lost.in_use, old.volume.clusters - layout.clusters);
    check_width_stays(old, layout);
    return {layout, lost};
}

}  // namespace

FatForSectors fat_for_sectors(std::shared_ptr<const block::Reader> part, ByteOffset begin,
                              std::uint64_t size_bytes, std::uint32_t sector_bytes) {
    const Volume volume = read_fat_volume(*part);
    Bytes boot = block::read_extent(*part, {0, kBootBytes});
    const Bpb bpb(boot);
    const Old old{*part, std::move(boot), bpb, volume};
    check_cluster_size(volume, sector_bytes);
    const auto [layout, lost] = find_layout(old, sector_bytes, size_bytes);

    const std::uint64_t info_sector = bpb.wide ? load_le<std::uint16_t>(old.boot, 48) : 0;
    const std::uint64_t backup_sector = bpb.wide ? load_le<std::uint16_t>(old.boot, 50) : 0;
    const bool has_backup = backup_sector != 0 && backup_sector < bpb.reserved;
    Bytes info = find_info(old, info_sector);
    const bool has_info = !info.empty();
    if (has_info) correct_info(info, layout, lost);
    const Bytes new_boot = new_boot_sector(old, layout, begin, has_info, has_backup);

    block::Geometry geometry = part->geometry();
    geometry.size_bytes = size_bytes;
    geometry.logical_sector_bytes = sector_bytes;
    const auto view = std::make_shared<View>(View{part, block::Patchwork(part->name(), geometry)});
    lay_content(view->patchwork, old, layout);
    for (const std::uint64_t place : {std::uint64_t{0}, layout.backup_boot * sector_bytes}) {
        if (place != 0 && !has_backup) continue;
        view->patchwork.lay(place, new_boot);
        if (has_info) view->patchwork.lay(place + sector_bytes, info);
    }
    return {{view, &view->patchwork},
            describe(old, layout, holds_more_boot_code(old, info_sector, backup_sector))};
}

}  // namespace dupengine::layout
