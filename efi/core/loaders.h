#pragma once
// Finds the file that starts a machine: on the disk of its profile, on the partition that [boot] names or
// else the EFI system partition, the loader that [boot] names or else where firmware and Debian have theirs.
// dupengine.efi stands in the same places, perhaps as a copy under another name; it never starts itself.

#include "efi/core/survey.h"

namespace dupengine::efi {

/// In every dupengine.efi of any version, and in no other program.
inline constexpr TextView kOwnMark = "dupengine.efi 5d5f3d0e2c5b4f6e";

/// Whether a file is a dupengine.efi.
bool is_own_copy(Bytes content);

/// Why a file that was read from there is not believed, or nothing; without keys every one is.
TextView not_vouched(Firmware& firmware, const FilePlace& place, SignedThing thing, Bytes content);

/// The partition with this machine's files. Without a profile: that of the only disk that has an EFI system
/// partition. Returns nothing, or why there is none.
TextView find_boot_partition(const Survey& survey, FilePlace& place);

/// The loader of this machine's disk; `content` is the file. Returns nothing, or why there is none that may
/// be started: with Secure Boot firmware looks at it, else it is vouched for as above.
TextView find_loader(Firmware& firmware, const Survey& survey, FilePlace& place, Bytes& content);

}  // namespace dupengine::efi
