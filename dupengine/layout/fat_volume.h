#pragma once
// The boot sector and the FATs of FAT12, FAT16 and FAT32 (Microsoft fatgen103), checked. Internal to layout/.
// Never writes; numbers on disk are believed only as far as they lie within the part.

#include <cstdint>
#include <span>

#include "block/device.h"

namespace dupengine::layout::fat {

/// Entries 0 and 1 hold the media byte and the clean/error bits.
inline constexpr std::uint64_t kFirstCluster = 2;

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

/// Throws kIntegrity for what is no FAT or cannot be trusted.
Volume read_volume(const block::Reader& part);

/// An entry of a FAT of this width, counted from the beginning of `piece`. Throws kIntegrity past its end.
inline std::uint32_t entry_in(Width width, std::span<const std::byte> piece, std::uint64_t index) {
    switch (width) {
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

/// Neither free nor marked bad.
inline bool is_allocated(Width width, std::uint32_t entry) {
    const std::uint32_t bad = width == Width::k12 ? 0xFF7u : width == Width::k16 ? 0xFFF7u : 0x0FFFFFF7u;
    return entry != 0 && entry != bad;
}

}  // namespace dupengine::layout::fat
