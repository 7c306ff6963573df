#pragma once
// Reads the profile store in two variables of the firmware (profiles/stores/variables.h): the newest short
// slot that is good, by the rules of slot.h. Writes nothing.

#include "efi/core/firmware.h"
#include "efi/core/slot.h"

namespace dupengine::efi {

/// Whether one of them is there, whatever it holds.
bool has_variable_store(Firmware& firmware);

/// The newest profile, or why there is none. `scratch`: at least two slots, each of kSlotScratchBytes; the
/// result lies in it.
TextView read_newest_variable(Firmware& firmware, Buffer scratch, StoredProfile& found);

}  // namespace dupengine::efi
