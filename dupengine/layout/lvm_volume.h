#pragma once
// An LVM2 physical volume and the logical volumes on it. Internal to layout/. Never writes. Format:
// lib/format_text/layout.h of the LVM2 sources (label, header, metadata area).

#include <string>
#include <vector>

#include "block/device.h"

namespace dupengine::layout {

/// A run of a logical volume that lies in one piece on this physical volume.
struct LvmPiece {
    ByteOffset begin = 0;  ///< in the logical volume
    block::Extent place;   ///< in the part that is the physical volume
};

struct LvmLogicalVolume {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::vector<LvmPiece> pieces;  ///< in the order of the logical volume
    /// All of it is here, in plain pieces, and nothing else is built on it: it can be read through its
    /// pieces.
    bool plain = true;
};

struct LvmPhysicalVolume {
    std::string group;
    block::Extent extents;  ///< where logical volumes can lie, in the part
    std::vector<LvmLogicalVolume> volumes;
};

/// Throws kIntegrity for what it cannot trust or does not know.
LvmPhysicalVolume read_lvm_volume(const block::Reader& part);

}  // namespace dupengine::layout
