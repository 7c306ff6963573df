#pragma once
// Looks at all disks of the machine, and at the variables of its firmware, and decides which profile is this
// machine's: that of the disk the program was started from, else that of the variables, else the newest, if
// all that are found are of one node. Two profiles of different nodes, and nothing that settles it, are none:
// a machine must not become somebody else because a disk was plugged in. Neither must it be another one than
// its firmware says. Reads only.

#include "efi/core/firmware.h"
#include "efi/core/mark.h"
#include "efi/core/sha256.h"
#include "efi/core/slot.h"

namespace dupengine::efi {

inline constexpr std::size_t kMostDisks = 16;
inline constexpr std::size_t kSurveyScratchBytes = 2 * kMiB;

/// A profile store.
struct StoreSeen {
    bool has_store = false;
    TextView no_profile;  ///< why what is in it cannot be used
    std::uint64_t generation = 0;
    Sha256 digest{};      ///< of the text, before anything was believed of it
    NodeProfile profile;  ///< if has_store and not no_profile

    bool has_profile() const { return has_store && no_profile.empty(); }
};

/// A disk, with the store in its profile partition.
struct DiskSeen : StoreSeen {
    PartitionTable table;
    TextView no_table;        ///< why there is none
    bool unfinished = false;  ///< a copy onto it was cut; the table is what the mark keeps
    bool mark_known = false;  ///< all of that is known
    Mark mark;
};

struct Survey {
    std::array<DiskSeen, kMostDisks> disks;
    std::size_t count = 0;
    StoreSeen variables;                 ///< of the firmware
    const StoreSeen* machine = nullptr;  ///< that with this machine's profile: one of the above
    TextView no_machine;                 ///< why there is none
    std::optional<std::size_t> home;     ///< the disk with this machine's files, if that is known

    std::span<const DiskSeen> seen() const { return std::span(disks).first(count); }
    const NodeProfile* profile() const { return machine != nullptr ? &machine->profile : nullptr; }
};

/// `scratch`: at least kSurveyScratchBytes, aligned for the disks.
void survey_machine(Firmware& firmware, Buffer scratch, Survey& survey);

/// For a person: each disk in a line, and which machine this is.
void print_survey(Firmware& firmware, const Survey& survey);

}  // namespace dupengine::efi
