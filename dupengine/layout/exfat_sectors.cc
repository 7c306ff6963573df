#include "layout/exfat_sectors.h"

#include <algorithm>
#include <bit>

#include "block/patchwork.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kBootBytes = 512;
constexpr std::uint64_t kRegionSectors = 12;  // boot, 8 of boot code, parameters, reserved, checksum
constexpr std::uint64_t kParametersSector = 9, kParameterBytes = 480;

/// In bytes, from a boot sector that exfat_used_extents has accepted.
struct Places {
    explicit Places(std::span<const std::byte> boot)
        : sector(std::uint64_t{1} << std::to_integer<unsigned>(boot[108])),
          cluster(sector << std::to_integer<unsigned>(boot[109])),
          fat_begin(load_le<std::uint32_t>(boot, 80) * sector),
          fat_bytes(load_le<std::uint32_t>(boot, 84) * sector),
          heap_begin(load_le<std::uint32_t>(boot, 88) * sector),
          heap_bytes(load_le<std::uint32_t>(boot, 92) * cluster),
          end(load_le<std::uint64_t>(boot, 72) * sector) {}
    std::uint64_t sector, cluster;
    ByteOffset fat_begin;
    std::uint64_t fat_bytes;
    ByteOffset heap_begin;
    std::uint64_t heap_bytes;
    ByteOffset end;
};

void check_places(const Places& old, std::uint64_t size_bytes, std::uint64_t sector_bytes) {
    const std::uint64_t largest_cluster_sectors = std::uint64_t{1} << (25 - std::countr_zero(sector_bytes));
    const auto refuse = [&](const std::string& why) {
        throw_error(Code::kRefused,
                    "exFAT {} cannot be used in sectors of {} bytes; make it anew on the target", why,
                    sector_bytes);
    };
    if (old.cluster < sector_bytes || old.cluster / sector_bytes > largest_cluster_sectors)
        refuse(fmt::format("with clusters of {} bytes", old.cluster));
    if (old.fat_begin % sector_bytes != 0 || old.heap_begin % sector_bytes != 0)
        refuse(fmt::format("with its FAT at byte {} and its clusters at {}", old.fat_begin, old.heap_begin));
    if (old.fat_begin < 2 * kRegionSectors * sector_bytes)
        refuse(fmt::format("with {} bytes in front of its FAT", old.fat_begin));
    const std::uint64_t entries = old.heap_bytes / old.cluster + 2;
    if (align_down(old.fat_bytes, sector_bytes) / 4 < entries ||
        old.heap_begin + old.heap_bytes > align_down(std::min(old.end, size_bytes), sector_bytes))
        refuse("that fills its place to the last bytes");
}

Bytes new_boot_sector(Bytes boot, const Places& old, ByteOffset begin, std::uint64_t size_bytes,
                      std::uint64_t sector_bytes) {
    const std::uint64_t in_front = load_le<std::uint64_t>(boot, 64);
    // 0: "shall be ignored".
    const bool known = in_front != 0 && begin % old.sector == 0 && in_front == begin / old.sector;
    store_le<std::uint64_t>(boot, 64, known ? begin / sector_bytes : 0);
    store_le<std::uint64_t>(boot, 72, std::min(old.end, size_bytes) / sector_bytes);
    store_le<std::uint32_t>(boot, 80, static_cast<std::uint32_t>(old.fat_begin / sector_bytes));
    store_le<std::uint32_t>(boot, 84, static_cast<std::uint32_t>(old.fat_bytes / sector_bytes));
    store_le<std::uint32_t>(boot, 88, static_cast<std::uint32_t>(old.heap_begin / sector_bytes));
    boot[108] = static_cast<std::byte>(std::countr_zero(sector_bytes));
    boot[109] = static_cast<std::byte>(std::countr_zero(old.cluster / sector_bytes));
    return boot;
}

// The eight sectors of boot code are empty, but each ends with its signature.
Bytes boot_region(std::span<const std::byte> boot, std::span<const std::byte> parameters,
                  std::uint64_t sector_bytes) {
    Bytes region(kRegionSectors * sector_bytes);
    std::copy(boot.begin(), boot.end(), region.begin());
    for (std::uint64_t sector = 1; sector <= 8; ++sector)
        store_le<std::uint32_t>(region, (sector + 1) * sector_bytes - 4, 0xAA550000);
    std::copy(parameters.begin(), parameters.end(),
              region.begin() + static_cast<std::ptrdiff_t>(kParametersSector * sector_bytes));
    const std::size_t summed = (kRegionSectors - 1) * sector_bytes;
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < summed; ++i)
        if (i != 106 && i != 107 && i != 112)  // the flags and the percentage change while it is mounted
            sum = std::rotr(sum, 1) + std::to_integer<std::uint32_t>(region[i]);
    for (std::size_t at = summed; at < region.size(); at += sizeof sum)
        store_le<std::uint32_t>(region, at, sum);
    return region;
}

// Keeps the part alive that its patches read.
struct View {
    std::shared_ptr<const block::Reader> part;
    block::Patchwork patchwork;
};

}  // namespace

ExfatForSectors exfat_for_sectors(std::shared_ptr<const block::Reader> part, ByteOffset begin,
                                  std::uint64_t size_bytes, std::uint32_t sector_bytes) {
    exfat_used_extents(*part);  // checks all of it
    Bytes boot = block::read_extent(*part, {0, kBootBytes});
    const Places old(boot);
    check_places(old, size_bytes, sector_bytes);
    const ByteOffset parameters_at = kParametersSector * old.sector;
    const Bytes parameters = block::read_extent(*part, {parameters_at, parameters_at + kParameterBytes});
    const Bytes region = boot_region(new_boot_sector(std::move(boot), old, begin, size_bytes, sector_bytes),
                                     parameters, sector_bytes);

    block::Geometry geometry = part->geometry();
    geometry.size_bytes = size_bytes;
    geometry.logical_sector_bytes = sector_bytes;
    const auto view = std::make_shared<View>(View{part, block::Patchwork(part->name(), geometry)});
    view->patchwork.lay({old.fat_begin, size_bytes}, *part, old.fat_begin);
    view->patchwork.lay(0, region);
    view->patchwork.lay(region.size(), region);
    return {{view, &view->patchwork},
            fmt::format("its exFAT is counted in sectors of {} bytes; boot code is left out", sector_bytes)};
}

}  // namespace dupengine::layout
