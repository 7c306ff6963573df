#pragma once
// Reads the profile store of a partition (profiles/slots.h has the format, dupengine-profile(5) too): the
// newest of two slots that is good. Believes a slot by the same rules as profiles/slots.cc; tests hold the
// two against each other. The node's secret is checked with the rest, never shown, and is no part of the
// result. Writes nothing.

#include "efi/core/gpt.h"

namespace dupengine::efi {

struct StoredProfile {
    std::uint64_t generation = 0;
    TextView text;  ///< within the scratch memory; empty: the store has no profile yet
};

/// Room for the sectors that hold one slot's header and payload.
inline constexpr std::size_t kSlotScratchBytes = kMiB;

/// The header and payload of one slot, or why they are not to be believed: then `found` is as it was. `slot`
/// may end where its payload ends.
TextView decode_slot(Bytes slot, StoredProfile& found);
/// The same of a short slot, which ends with its text.
TextView decode_short_slot(Bytes slot, StoredProfile& found);

/// Of what two slots held, or why they are not to be believed: the number of the newest, or the reason.
TextView choose_slot(std::span<const TextView, 2> reasons, std::span<const StoredProfile, 2> seen,
                     std::size_t& newest);

/// The newest profile of the store in this partition, or why there is none. `scratch`: at least
/// kSlotScratchBytes; the result lies in it.
TextView read_newest_slot(Disk& disk, const Partition& store, Buffer scratch, StoredProfile& found);

}  // namespace dupengine::efi
