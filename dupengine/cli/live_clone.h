#pragma once
// What `clone` does beside copying the disks, unless it was told --disks-only: this machine's memory and CPU
// state go with it. Made before the command has threads that talk to the target (machine/live_process.h).

#include <nlohmann/json.hpp>

#include "cli/life_sign.h"
#include "cli/participants.h"
#include "cli/wake.h"
#include "machine/egress_gate.h"
#include "machine/live_memory.h"
#include "wire/offer.h"

namespace dupengine::cli {

struct LiveCloneOptions {
    std::vector<machine::FollowedDisk> disks;
    wire::Address target;
    std::chrono::milliseconds max_pause{2000};
    std::string store;  ///< of the profile there; empty: the disk's own
};

/// Throws kUnsupported if this machine's memory cannot be duplicated, kRefused if something has to be done
/// before: every obstacle at once.
void refuse_if_memory_cannot_go(const std::vector<machine::FollowedDisk>& disks);

class LiveClone {
  public:
    /// `hot` and `participants` outlive it.
    LiveClone(machine::HotDisk& hot, Participants& participants, const LiveCloneOptions& options,
              RandomSource& random);

    /// For HotOptions.
    bool wait_for_rest(const std::stop_token& stop);
    machine::AtRest rest();
    /// For the offer.
    wire::OfferedMemory offered() const;
    wire::OfferedDisk::Group group(std::uint32_t number);

    machine::LiveReport report() const { return memory_.report(); }
    bool is_all_given() const { return memory_.is_all_given(); }
    /// What the duplicate says of itself; nothing if it did not in time.
    std::optional<std::string> wait_for_life(const std::stop_token& stop);

  private:
    machine::LiveOptions process_options(const machine::HotDisk& hot, Participants& participants,
                                         const LiveCloneOptions& options);

    machine::EgressGate gate_;
    std::vector<DiskSample> samples_;  // in the live process
    LifeSignListener life_;
    machine::LiveProcess process_;
    machine::LiveMemory memory_;
};

std::string draw_live(const machine::LiveReport& report);

}  // namespace dupengine::cli
