#pragma once
// The pass of refit_source for a target of other sectors: 512e and 4Kn. Every partition must be made of whole
// sectors of the target, and what it holds must be usable in them: rebuilt where the content says its sector
// size (FAT, exFAT), checked where it need not (ext, XFS, btrfs, F2FS, swap, LVM, LUKS), refused with the
// reason otherwise. What is not understood is copied as it is, and a note says so. Reads only.

#include "engine/refit/fitted.h"

namespace dupengine::engine {

/// From which sectors to which. For a source without a table `from` is what its device has.
struct SectorChange {
    std::uint32_t from = 512, to = 512;
};

/// The content for the other sectors; `reader` is null if it is usable as it is.
struct FittedContent {
    std::shared_ptr<const block::Reader> reader;
    std::vector<std::string> notes;
};

/// Of a part that begins at `begin` on its disk and may use so many bytes of it (fewer than it has only if
/// its last sector is not whole). Throws kRefused. `part` must outlive the result.
FittedContent fit_content(std::shared_ptr<const block::Reader> part, ByteOffset begin,
                          std::uint64_t size_bytes, SectorChange change);

/// Fits all partitions of a source with a table. Throws kRefused, naming the partition.
Fitting fit_to_sectors(const block::Reader& source, const layout::PartitionTable& table, SectorChange change);

}  // namespace dupengine::engine
