#pragma once
// Device paths (UEFI 2.10, chapter 10): how firmware names disks, partitions and files. A path is a list of
// nodes, each with its type and size, and an end. What firmware hands out is checked like anything else.
// Pure.

#include <optional>

#include "efi/core/bytes.h"
#include "efi/core/guid.h"

namespace dupengine::efi {

/// Longer ones are taken for none.
inline constexpr std::size_t kLongestDevicePath = 4096;

/// The nodes of a path that begins here, without its end; nothing if it is not well formed. Looks at no more
/// than `most`.
Bytes path_nodes(Bytes most);

/// The partition's GUID, if the path is that of a GPT partition directly on the disk.
std::optional<Guid> partition_on(Bytes disk_nodes, Bytes nodes);
/// Whether a path leads to something on the disk, or to the disk itself.
bool is_on(Bytes disk_nodes, Bytes nodes);

/// The path of a file ("/EFI/a.efi") on a partition, with its end. Returns nothing if there is no room in
/// `into`.
Bytes file_path(Bytes partition_nodes, TextView path, Buffer into);

/// Text in the firmware's characters, with a zero at the end; "/" becomes "\" if it is a path. Returns how
/// many, the zero included, or 0 if there is no room.
std::size_t to_utf16(TextView text, bool is_path, std::span<char16_t> into);

}  // namespace dupengine::efi
