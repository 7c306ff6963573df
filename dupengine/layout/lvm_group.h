#pragma once
// An LVM2 volume group: its physical volumes and how logical volumes lie on them. Internal to layout/. Pure.
// Format: lib/format_text of the LVM2 sources; lvm_text.h reads the syntax.

#include <string>
#include <string_view>
#include <vector>

#include "block/extent.h"

namespace dupengine::layout {

struct LvmPhysicalVolume {
    std::string id;         ///< without dashes
    block::Extent extents;  ///< where logical volumes can lie on it, in bytes
    bool operator==(const LvmPhysicalVolume&) const = default;
};

/// A run of a logical volume: chunks of `stripe_bytes`, one from each of the stripes in turn. A linear one
/// has one stripe.
struct LvmSegment {
    struct Stripe {
        std::size_t volume = 0;  ///< which of LvmGroup::physical
        block::Extent place;     ///< on it
        bool operator==(const Stripe&) const = default;
    };
    block::Extent range;             ///< of the logical volume
    std::uint64_t stripe_bytes = 0;  ///< the stripes' places are a multiple of it long
    std::vector<Stripe> stripes;     ///< of equal size
    bool operator==(const LvmSegment&) const = default;
};

struct LvmLogicalVolume {
    std::string name;
    std::uint64_t size_bytes = 0;
    /// In order; all of it if `special` is empty. Else the stripes are all of its places on physical volumes,
    /// and nothing is known of what is where.
    std::vector<LvmSegment> segments;
    /// Why its bytes are not simply those of its segments: "raid1", "part of the thin-pool data". Empty if
    /// they are.
    std::string special;
    bool operator==(const LvmLogicalVolume&) const = default;
};

struct LvmGroup {
    std::string name, id;
    std::uint64_t sequence = 0;  ///< one more after each change
    std::vector<LvmPhysicalVolume> physical;
    std::vector<LvmLogicalVolume> logical;  ///< by name
    bool operator==(const LvmGroup&) const = default;
};

/// Throws kIntegrity for what it cannot trust or does not know. No two volumes lie on the same bytes, and
/// none passes the end of its physical volume.
LvmGroup parse_lvm_group(std::string_view metadata);

}  // namespace dupengine::layout
