#pragma once
// Plans a copy of one disk onto another without an operating system: all partitions of the source but
// profiles, each as a whole, at their places, and the target's own profile partitions where they are. Looks
// and decides, writes nothing; what cannot be done is refused here, with the reason. Tables are GPTs of 128
// entries; anything else is for dupengine(8).

#include "efi/core/survey.h"

namespace dupengine::efi {

inline constexpr std::size_t kEntriesBytes = std::size_t{128} * 128;

struct DuplicatePlan {
    std::array<Region, kMostPartitions> copied;
    std::size_t copied_count = 0;
    Mark kept;  ///< the target's profile partitions
    std::uint64_t bytes = 0;
    std::uint32_t sector_bytes = 0;
    std::uint64_t target_bytes = 0;
    // The target's new table.
    Guid disk_guid;
    std::uint64_t first_usable = 0;
    std::array<std::byte, kEntriesBytes> entries;
    std::array<std::byte, 4096> sector0;

    std::span<const Region> all_copied() const { return std::span(copied).first(copied_count); }
};

struct DuplicateEnd {
    Disk& disk;
    const DiskSeen& seen;
};

/// Returns nothing, or why it is refused. `scratch`: at least kSurveyScratchBytes.
TextView plan_duplicate(DuplicateEnd source, DuplicateEnd target, Buffer scratch, DuplicatePlan& plan);

/// The bytes that the table takes at the start of the disk (with sector 0), and at its end.
std::uint64_t table_head_bytes(std::uint32_t sector_bytes);
std::uint64_t table_tail_bytes(std::uint32_t sector_bytes);
/// The new table's bytes there. `into` has just that size.
void encode_head(const DuplicatePlan& plan, Buffer into);
void encode_tail(const DuplicatePlan& plan, Buffer into);

}  // namespace dupengine::efi
