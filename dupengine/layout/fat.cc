// FAT12, FAT16 and FAT32 after Microsoft's "FAT: General Overview of On-Disk Format" 1.03 (fatgen103). Used
// are the reserved sectors, every copy of the FAT, the root directory of FAT12/16, and the clusters whose FAT
// entry is neither free nor marked bad. A bad-cluster mark is in the FAT and so is copied; what the bad
// cluster holds is not read.

#include <algorithm>
#include <vector>

#include "layout/extent_collector.h"
#include "layout/fat_volume.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

using Width = FatVolume::Width;
constexpr std::uint64_t kFirstCluster = FatVolume::kFirstCluster;

std::uint32_t entry_in(const FatVolume& volume, std::span<const std::byte> piece, std::uint64_t index) {
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

bool is_allocated(const FatVolume& volume, std::uint32_t entry) {
    const std::uint32_t bad = volume.width == Width::k12   ? 0xFF7u
                              : volume.width == Width::k16 ? 0xFFF7u
                                                           : 0x0FFFFFF7u;
    return entry != 0 && entry != bad;
}

// Entry 0 repeats the media byte; entry 1 holds, from the top, "unmounted cleanly" and "no disk errors seen".
std::string check_first_entries(const FatVolume& volume, std::span<const std::byte> piece) {
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
bool linux_marked_dirty(const block::Reader& part, const FatVolume& volume) {
    const ByteOffset at = volume.width == Width::k32 ? 65 : 37;
    return (std::to_integer<unsigned>(block::read_extent(part, {at, at + 1})[0]) & 1) != 0;
}

// Walks the FATs in step, in pieces of bounded size. A cluster that any copy in force calls allocated is
// used: where copies disagree nobody can tell which one is right.
class FatWalk {
  public:
    FatWalk(const block::Reader& part, const FatVolume& volume) : part_(part), volume_(volume) {
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
    const FatVolume& volume_;
    std::vector<unsigned> copies_;
    ExtentCollector collected_;
    bool disagree_ = false;
};

}  // namespace

UsedExtents fat_used_extents(const block::Reader& part) {
    const FatVolume volume = read_fat_volume(part);
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
