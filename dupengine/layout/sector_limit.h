#pragma once
// Which sectors a disk may have so that what lies on it can be used there, as it is. A filesystem reads in
// units of its own, and no disk gives less than a sector; some formats say in their boot sector which sectors
// they were made for, and mean it. Reads only; numbers on disk are checked.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "layout/signature.h"

namespace dupengine::layout {

struct SectorLimit {
    enum class Kind {
        kUnknown,  ///< nobody here knows what the content needs
        kLargest,  ///< usable in sectors up to `bytes`
        kExact     ///< made for sectors of `bytes`, and usable in no others
    };
    Kind kind = Kind::kUnknown;
    std::uint64_t bytes = 0;
    std::string what;    ///< "XFS with sectors of 512 bytes": whose limit it is, for a message
    std::string advice;  ///< what to do about it; may be empty

    bool allows(std::uint32_t sector_bytes) const {
        return kind == Kind::kLargest ? bytes >= sector_bytes : kind == Kind::kExact && bytes == sector_bytes;
    }
};

/// All of them have to hold; never empty. Several for LVM and LUKS, where one thing lies in another. Throws
/// kIntegrity for a format that it knows and cannot understand there, and what reading throws.
std::vector<SectorLimit> find_sector_limits(const block::Reader& part,
                                            const std::optional<Signature>& signature);

}  // namespace dupengine::layout
