#pragma once
// A system that has just become this machine's own is not trusted to come up: dupengine.efi tries it as often
// as the profile says, and then falls back (dupengine-efi(8)).

#include <string>

#include "profiles/profile.h"

namespace dupengine::boot {

struct Counted {
    bool is_counted = false;
    std::string text;  ///< what was done, or why it could not be looked whether it has to be; perhaps empty
};

/// To be called before a role is taken up, so that a cut leaves a start counted too many and not one too few.
/// `efivars`: the folder with the variables of the firmware that starts the system; empty: this machine's, if
/// it runs from memory (an initramfs, so that the disk is what it starts next) and dupengine.efi started it;
/// if not, nothing is counted. There the variables are mounted if they are not yet. Throws as
/// machine/efi_variables.h where it has to be and cannot.
Counted count_tries_of(const profiles::Boot& boot, const std::string& efivars);

/// Whether dupengine.efi counts the starts of this system and has no try left; `efivars` as above.
bool are_tries_used_up(const std::string& efivars);

}  // namespace dupengine::boot
