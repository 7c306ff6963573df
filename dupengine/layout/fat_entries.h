#pragma once
// The entries of a FAT, 12, 16 or 32 bits wide (fatgen103). Internal to layout/. Pure functions.

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "layout/fat_volume.h"

namespace dupengine::layout {

/// Counted from the beginning of `piece`. Throws kIntegrity past its end.
inline std::uint32_t fat_entry_in(FatVolume::Width width, std::span<const std::byte> piece,
                                  std::uint64_t index) {
    switch (width) {
        case FatVolume::Width::k12: {
            const auto pair = load_le<std::uint16_t>(piece, static_cast<std::size_t>(index + index / 2));
            return index % 2 == 0 ? pair & 0x0FFFu : static_cast<std::uint32_t>(pair >> 4);
        }
        case FatVolume::Width::k16:
            return load_le<std::uint16_t>(piece, static_cast<std::size_t>(index * 2));
        case FatVolume::Width::k32:
            return load_le<std::uint32_t>(piece, static_cast<std::size_t>(index * 4)) & 0x0FFFFFFFu;
    }
    throw_error(Code::kInternal, "a FAT of no width");
}

/// Neither free nor marked bad.
inline bool fat_entry_is_allocated(FatVolume::Width width, std::uint32_t entry) {
    const std::uint32_t bad = width == FatVolume::Width::k12   ? 0xFF7u
                              : width == FatVolume::Width::k16 ? 0xFFF7u
                                                               : 0x0FFFFFF7u;
    return entry != 0 && entry != bad;
}

}  // namespace dupengine::layout
