#pragma once
// How a FAT16 or FAT32 becomes larger where it stands. Its FATs get longer, so the first clusters of the data
// area make room for them (and for the root directory of FAT16, which stands between): those in use move
// behind what was the end, and every cluster number changes, in the FATs and in all folders. This says what
// goes where and makes the new bytes; it reads only, and who writes them is the engine's business. Format:
// Microsoft's fatgen103. One thread.

#include <functional>
#include <vector>

#include "layout/fat_volume.h"
#include "layout/partition_table.h"

namespace dupengine::layout {

class FatGrowth {
  public:
    /// Reads the boot sector and one FAT of a volume that is to cover `bytes`, or as much of them as a FAT of
    /// its width can. Throws kIntegrity for what is damaged, kRefused for what cannot grow (one line, to
    /// stand behind a name).
    FatGrowth(const block::Reader& part, std::uint64_t bytes);

    struct Move {
        block::Extent from;
        ByteOffset to = 0;
    };
    /// The clusters in use that make room, with their content. Nothing of the old volume lies where they go.
    std::vector<Move> moves() const;

    using TakeFolder = std::function<void(ByteOffset place, const Bytes& cluster)>;
    /// Every cluster of every folder with the new numbers in it, and where it goes; the root directory of
    /// FAT16, all of it, last. Reads `part` as it was before anything was written but moves and folders.
    /// Throws kIntegrity for folders that lead astray.
    void each_folder(const block::Reader& part, const TakeFolder& take) const;

    /// The bytes [begin, begin + size) of the new FAT; both multiples of four.
    Bytes fat_bytes(std::uint64_t begin, std::uint64_t size) const;
    /// Where each copy of it goes.
    std::vector<block::Extent> fats() const;
    /// Boot sector and information sector with the new numbers, and their copies.
    std::vector<TableImage::Piece> boot_sectors(const block::Reader& part) const;

  private:
    void choose_size(std::uint64_t bytes);
    void read_fat(const block::Reader& part);
    std::uint32_t translate(std::uint32_t entry) const;
    std::uint32_t new_number(std::uint64_t cluster) const;
    ByteOffset old_place(std::uint64_t cluster) const;
    ByteOffset new_place(std::uint64_t number) const;
    bool renumber(Bytes& folder, std::vector<std::uint32_t>& found) const;
    bool has_wide_entries() const { return before_.width == FatVolume::Width::k32; }
    std::size_t entry_bytes() const { return has_wide_entries() ? 4 : 2; }
    std::uint32_t bad_mark() const { return value_bits_ - 8; }
    std::uint32_t end_of_chain() const { return value_bits_ - 7; }  // and all larger ones
    void patch_boot_sector(Bytes& sector) const;

    FatVolume before_, after_;
    std::uint32_t value_bits_ = 0;      // of an entry
    std::vector<std::uint32_t> fat_;    // as it was
    std::uint64_t shift_ = 0;           // by so many the numbers of what does not move get smaller
    std::vector<std::uint32_t> moved_;  // old numbers, ascending
    std::uint64_t used_ = 0;            // entries that are not free, afterwards
};

}  // namespace dupengine::layout
