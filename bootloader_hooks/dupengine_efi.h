#pragma once
// What a running system and dupengine.efi tell each other through variables of the firmware
// (dupengine-efi(8)): what the next start does, how often a new system is tried, and that it came up well.
// What it starts is in the profile, so there is nothing to install. One thread at a time.

#include <optional>
#include <string>

#include "bootloader_hooks/loader.h"

namespace dupengine::boot {

struct EfiState {
    std::optional<std::string> started_by;  ///< the version of the dupengine.efi that started this machine
    std::optional<std::string> once;        ///< what the next start does
    std::optional<std::string> tries;       ///< how many are left
};

/// Words that end with a line feed are told without it.
EfiState look_at_efi(const machine::EfiVariables& variables);

/// How many starts by itself a system gets to come up: 1 to 99.
inline constexpr unsigned kMostTries = 99;
void set_tries(machine::EfiVariables& variables, unsigned tries);
/// Throws kUsage for a number of tries that is not 1 to `most`.
void check_tries(unsigned tries, unsigned most);

/// The system came up well: nothing is counted any more. Returns how many tries were left, or nothing if none
/// were counted.
std::optional<std::string> confirm(machine::EfiVariables& variables);

/// The next start does this instead of what the profile says: one of the words of `choice`. Throws kUsage for
/// another word.
void choose_once(machine::EfiVariables& variables, const std::string& choice);
void forget_once(machine::EfiVariables& variables);

/// All of that as any loader has it.
std::unique_ptr<Loader> make_dupengine_efi(const Places& places);

}  // namespace dupengine::boot
