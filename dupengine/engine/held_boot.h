#pragma once
// Boot structures whose time has not come when the copy is complete: the disk of a machine that is duplicated
// while it runs is no disk, and nothing starts from it, until the duplicate has become somebody else. Who
// copies hands them over; who has woken writes them, when the role is on the disk.
//
// What of them lies inside partitions is no boot structure but a filesystem's own, and is written with the
// copy: the duplicate's kernel reads and writes there.

#include <vector>

#include "block/guard.h"
#include "block/held_back.h"
#include "engine/plan.h"

namespace dupengine::engine {

struct HeldBoot {
    std::uint64_t size_bytes = 0;  ///< of the disk that they are of
    std::vector<BootStage> boot;   ///< in the order in which they are written
};

/// Writes them, each stage on the medium, and read back from there if that is asked, before the next. Returns
/// how much was read back. Throws kIntegrity if it differs.
std::uint64_t write_boot_stages(const std::vector<BootStage>& boot, Verify verify, block::Target& target);

/// What of `boot` lies in partitions of `table`, and all the rest; the stages of both have the same order.
struct SplitBoot {
    std::vector<BootStage> in_partitions, outside;
};
SplitBoot split_boot(const std::vector<BootStage>& boot, const layout::PartitionTable& table);

/// From one machine to another, in the order of the disks. Little-endian numbers of 8 bytes: version 1, count
/// of disks, and for each its size, count of stages, and for each of these its name and count of pieces, and
/// for each of these its offset and content; names and contents have their size before them.
Bytes encode_held_boot(const std::vector<HeldBoot>& disks);
/// Throws kIntegrity for what is none.
std::vector<HeldBoot> decode_held_boot(std::span<const std::byte> bytes);

/// For a view of the disk as it will be (block/in_place.h).
std::shared_ptr<block::HeldBytes> held_bytes(const HeldBoot& held);
/// With what was changed there.
HeldBoot with_changes(HeldBoot held, const block::HeldBytes& changed);
/// Where they go: all else of the disk can be under guard.
block::ExtentSet places_of(const HeldBoot& held);

}  // namespace dupengine::engine
