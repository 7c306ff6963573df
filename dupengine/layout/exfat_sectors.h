#pragma once
// An exFAT filesystem for a disk of other sectors. Its FAT and its clusters stay where they are; the two boot
// regions, which count in sectors and carry a checksum, are made anew in the room in front of the FAT.
// Microsoft's exFAT specification, revision 1.00. Reads only.

#include <memory>
#include <string>

#include "block/device.h"

namespace dupengine::layout {

struct ExfatForSectors {
    std::shared_ptr<const block::Reader> reader;  ///< as large as it was asked for
    std::string note;
};

/// `part` begins at `begin` on its disk; the result is to have `size_bytes`, no more than the part. Throws
/// kRefused with the reason if its places are not made of whole sectors, kIntegrity for an exFAT that cannot
/// be trusted (one that was not unmounted cleanly, too).
ExfatForSectors exfat_for_sectors(std::shared_ptr<const block::Reader> part, ByteOffset begin,
                                  std::uint64_t size_bytes, std::uint32_t sector_bytes);

}  // namespace dupengine::layout
