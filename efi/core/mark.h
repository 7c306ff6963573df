#pragma once
// The mark of an unfinished copy (layout/incomplete_mark.h has the format, dupengine-formats(5) too): read,
// so that what a cut copy has to keep is kept and found, and written, so that any dupengine can go on from a
// copy that firmware began. Of its text only the regions that are kept with an entry of the table matter
// here.

#include "efi/core/gpt.h"
#include "efi/core/guard.h"

namespace dupengine::efi {

/// A region with the entry that it has in the table.
struct KeptPartition {
    Partition partition;
    std::uint64_t attributes = 0;
    Text<36> name;  ///< printable ASCII, or cut() if it is not
};

struct Mark {
    std::array<KeptPartition, kMostRegions> kept;
    std::size_t count = 0;
    std::span<const KeptPartition> all() const { return std::span(kept).first(count); }
};

/// Bytes that a mark takes at each end of a disk.
std::uint64_t mark_room(std::uint32_t sector_bytes);

/// The mark at the end of the disk, else at its start. Returns false if there is none, or what it keeps
/// cannot all be told here. `scratch`: at least 64 KiB.
bool find_mark(Disk& disk, Buffer scratch, Mark& mark);

/// Its bytes, mark_room() long. Returns nothing if there is no room.
Bytes encode_mark(const Mark& mark, TextView source, std::uint64_t size_bytes, std::uint32_t sector_bytes,
                  Buffer into);

}  // namespace dupengine::efi
