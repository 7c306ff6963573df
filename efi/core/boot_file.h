#pragma once
// The files that [boot] names, from a partition or from a web server. What may pass (a network without an
// address, a server that is away or stops half-way) is waited for, with the time that is left on the console;
// a key ends that.

#include "efi/core/firmware.h"

namespace dupengine::efi {

/// Reads a file whole; `place.path` may be a web address. Returns as Firmware::read_file().
TextView read_boot_file(Firmware& firmware, const FilePlace& place, FileUse use, Bytes& content);

/// How often it is tried, and how long is waited between.
inline constexpr unsigned kMostFetches = 30;
inline constexpr std::uint32_t kSecondsBetween = 10;

}  // namespace dupengine::efi
