#pragma once
// Asks a person which disk, or the image on a web server that the profile names, goes onto which, says what
// is lost, and does it when that is confirmed.

#include "efi/core/duplicate.h"

namespace dupengine::efi {

/// Why there is nothing to copy on this machine, or nothing.
TextView no_duplicate(const Survey& survey);

/// What a duplication takes, and a piece of an image.
inline constexpr std::size_t kDialogScratchBytes = kSurveyScratchBytes + kMiB;

/// `scratch`: at least kDialogScratchBytes, aligned for the disks.
DuplicateResult duplicate_by_keys(Firmware& firmware, const Survey& survey, Buffer scratch);

}  // namespace dupengine::efi
