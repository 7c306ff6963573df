#pragma once
// A FAT filesystem for a disk of other sectors. Clusters keep their size, their numbers and their content, so
// that no directory and no entry of the FAT changes; what counts in sectors is counted anew (the boot sector,
// its backup, FSInfo), each FAT is padded to whole sectors, and the clusters lie where that leaves them. The
// result is a view: the source's own bytes at other places, and three sectors in memory. Microsoft fatgen103.
// Reads only.

#include <memory>
#include <string>

#include "block/device.h"

namespace dupengine::layout {

struct FatForSectors {
    std::shared_ptr<const block::Reader> reader;  ///< as large as it was asked for
    std::string note;                             ///< what was changed, for a person
};

/// `part` begins at `begin` on its disk; the result is to have `size_bytes`, no more than the part. Throws
/// kRefused with the reason if it cannot be done without another cluster size or without losing a cluster in
/// use, kIntegrity for a FAT that cannot be trusted.
FatForSectors fat_for_sectors(std::shared_ptr<const block::Reader> part, ByteOffset begin,
                              std::uint64_t size_bytes, std::uint32_t sector_bytes);

}  // namespace dupengine::layout
