#pragma once
// Asks a person which disk goes onto which, says what is lost, and does it when that is confirmed.

#include "efi/core/duplicate.h"

namespace dupengine::efi {

/// Why there is nothing to copy on this machine, or nothing.
TextView no_duplicate(const Survey& survey);

/// `scratch`: at least kSurveyScratchBytes.
DuplicateResult duplicate_by_keys(Firmware& firmware, const Survey& survey, Buffer scratch);

}  // namespace dupengine::efi
