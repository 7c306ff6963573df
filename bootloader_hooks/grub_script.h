#pragma once
// What GRUB is given to read, in its language: the entries of the small system with the count of starts, and
// the part of grub.cfg that reads them, which /etc/grub.d/42_dupengine makes anew whenever grub-mkconfig(8)
// runs. Pure.

#include <string>
#include <string_view>
#include <vector>

#include "bootloader_hooks/small_system.h"

namespace dupengine::boot {

/// Below the folder in which grub.cfg is.
inline constexpr std::string_view kGrubFiles = "dupengine", kGrubEntries = "entries.cfg";

/// Variables of the environment block, and what stands in front of an entry's word in its id.
inline constexpr std::string_view kGrubTries = "dupengine_tries", kGrubDefault = "dupengine_default",
                                  kGrubIdPrefix = "dupengine-";

/// It counts with one line a number.
inline constexpr unsigned kMostGrubTries = 9;

/// The file of the entries. Throws kUsage for a command line that GRUB would not hand on as it is.
std::string grub_entries(const std::vector<SmallEntry>& entries, const StoredSystem& files);

/// The file below /etc/grub.d.
inline constexpr std::string_view kGeneratorName = "42_dupengine";
std::string grub_generator();

/// grub.cfg with the part that reads the entries, as grub-mkconfig would have put it there, and without.
/// Nothing else of it changes.
std::string with_entries_read(std::string_view configuration);
std::string without_entries_read(std::string_view configuration);

}  // namespace dupengine::boot
