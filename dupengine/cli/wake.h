#pragma once
// The first thing that a duplicate does: it becomes who it is. It is this process, in memory that is the
// source's, on another machine, with everything else at rest and the gate closed.
//
//     links down -> the disk is the one that was received -> profile from the medium -> random state ->
//     kernel and filesystems thawed -> role taken up -> the disk becomes one that starts
//     -> leases dropped, links as the profile says, connections of the source destroyed
//     -> who has packet sockets is killed -> processes thawed
//     -> what manages services and the network started anew -> gate opened and links up, one by one, if that
//     went well
//     -> participants told -> word to the source
//
// Without a profile that holds, or if any of it fails before processes are thawed: everything stays at rest,
// no link is up, and the console says so. A link that the profile does not name stays behind the gate.

#include <cstdint>
#include <string>
#include <vector>

#include "block/in_place.h"
#include "cli/life_sign.h"
#include "cli/participants.h"
#include "machine/egress_gate.h"
#include "machine/live_process.h"

namespace dupengine::cli {

/// What the source knows of a disk as it was in the moment that was duplicated.
struct DiskSample {
    std::uint64_t offset = 0, size = 0;
    codec::Sha256 sha256{};
    std::size_t disk = 0;  ///< its number
};

struct WakeOptions {
    std::vector<std::string> disks;  ///< of this machine, as the source called its own
    std::string store;               ///< of the profile; empty: on the disks
    LifeSignPlace source;
    std::vector<DiskSample> samples = {};  ///< of the disks; none: nothing is looked at
};

/// The kernel of a duplicate drives whatever it finds where the source had its disks: others than those that
/// were received, these in another order, or some that are older. Throws kRefused if a sample is not on the
/// medium, which is asked past all caches. Writes nothing.
void check_disk_samples(const std::vector<std::string>& disks, const std::vector<DiskSample>& samples,
                        const block::Media& media = {});

/// What a wake does beside thawing, in this order; tests have their own. Each throws what it cannot do.
class WakeSteps {
  public:
    virtual ~WakeSteps() = default;
    virtual void silence_links() = 0;
    /// The disk is the one that was received, and holds the profile of this machine.
    virtual void find_role() = 0;
    /// Of random state and addresses nothing is the source's any more.
    virtual void forget_the_source() = 0;
    /// Where filesystems can be written.
    virtual void take_up_role() = 0;
    /// From here on the disk is one that starts; it starts as who this machine has become.
    virtual void complete_disk() = 0;
    /// What would speak as the source: leases, connections, programs with packet sockets.
    virtual void end_what_speaks() = 0;
};

/// Takes them, and thaws the kernel and filesystems when they are wanted, and processes last of all. If one
/// throws, nothing that stands behind it is done.
void become(machine::Awake& awake, WakeSteps& steps);

/// Throws, having said on the console why, if it cannot become anybody.
void wake_up(machine::Awake& awake, const WakeOptions& options, machine::EgressGate& gate,
             Participants& participants);

}  // namespace dupengine::cli
